"""What the codes mean in words, packed beside them so that an explanation can say it.

Words are learnt from items that were on sale by the cut; later ones only say which are true of
them.

Legend: N items, L levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ibis import Table

from tessera.bundles.words import CODES, ITEMS, WIDTH
from tessera.contracts.arrays import Ints
from tessera.shared.codes.words import FIELDS, TEXT, Words, code_words, rows_terms

_CODES = pa.schema([("prefix", pa.list_(pa.int64())), ("items", pa.int64()),
                    ("words", pa.list_(pa.string()))])  # fmt: skip
_ITEMS = pa.schema([("item_id", pa.string()), ("code", pa.list_(pa.int64())),
                    ("bits", pa.int64())])  # fmt: skip


def write_words(items: Table, codes: Table, cut: datetime, bundle: Path) -> int:
    """Write the words of all codes and of all items; return how many beginnings have some."""
    coded = codes.select("item_id", "code")
    joined = items.select("item_id", "valid_from", *TEXT, *FIELDS).inner_join(coded, "item_id")
    rows = joined.order_by("item_id").to_pyarrow().to_pydict()
    terms_N = rows_terms(rows)
    code_NL = np.array([code[:-1] for code in rows["code"]], dtype=np.int64)
    code_NL = code_NL.reshape(len(terms_N), -1)
    born = [at for at, day in enumerate(rows["valid_from"]) if day is None or day <= cut]
    words = code_words([terms_N[at] for at in born], code_NL[born])
    prefixes = sorted(words.items)
    told = {
        "prefix": [list(prefix) for prefix in prefixes],
        "items": [words.items[prefix] for prefix in prefixes],
        "words": [list(words.of.get(prefix, ())) for prefix in prefixes],
    }
    _write(pa.table(told, _CODES), bundle / CODES)
    bits = _bits(words, terms_N, code_NL)
    table = {"item_id": rows["item_id"], "code": code_NL.tolist(), "bits": bits}
    _write(pa.table(table, _ITEMS), bundle / ITEMS)
    return len(words.of)


def _bits(words: Words, terms_N: Sequence[frozenset[str]], code_NL: Ints) -> list[int]:
    """Set bit `WIDTH * level + place` where the word at that place of that level is true."""
    found = []
    for terms, code in zip(terms_N, code_NL.tolist(), strict=True):
        bits = 0
        for level in range(len(code)):
            for place, word in enumerate(words.of.get(tuple(code[: level + 1]), ())):
                bits |= int(word in terms) << (WIDTH * level + place)
        found.append(bits)
    return found


def _write(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd")
