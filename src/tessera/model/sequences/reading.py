"""What a model is fitted on, out of tables: histories in an order of ties that no name decides.

Legend: E events, U users, V items with padding first, C code levels.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from ibis import Table

from tessera.contracts import mapped
from tessera.contracts.arrays import Ints
from tessera.contracts.lookup import rows_of
from tessera.contracts.split import Split, load_split, phased
from tessera.contracts.tables import ACTIONS
from tessera.model.params import SequenceParams
from tessera.model.sequences.catalogue import read_catalogue, read_closes, read_codes
from tessera.model.sequences.dataset import Dataset
from tessera.model.sequences.edges import read_edges
from tessera.model.sequences.exposure_log import Sources, read_log
from tessera.model.sequences.histories import Histories

_ODD, _HALF = 0x9E3779B97F4A7C15, 2**32


def read_dataset(
    sources: Sources,
    split: Path,
    scratch: Path,
    params: SequenceParams,
    *,
    with_log: bool = True,
) -> Dataset:
    """Read what a model is fitted on.

    Parameters
    ----------
    sources : Sources
        Tables of the run.
    split : Path
        Its periods.
    scratch : Path
        Folder for what grows with the log.
    params : SequenceParams
        What of them is read, and how.
    with_log : bool
        Read the logged slates too, which nothing but rankers learns from.
    """
    periods = load_split(split)
    catalogue = read_catalogue(sources.items)
    codes_VC = read_codes(sources.codes, catalogue.vocabulary)
    if not params.use_codes:
        codes_VC = torch.empty(len(codes_VC), 0, dtype=torch.long)
    scratch.mkdir(parents=True, exist_ok=True)
    histories = read_histories(
        sources.events, periods, catalogue.vocabulary, tied_sets=params.tied_sets, folder=scratch
    )
    log = None
    if with_log:
        log = read_log(sources, histories, catalogue, codes_VC.numpy(), periods, params)
    edge_VV = read_edges(sources.edges, catalogue.vocabulary) if params.edge_bias else None
    closes = log.facts.closes if log else read_closes(sources.prices, catalogue.vocabulary)
    return Dataset(periods, catalogue, codes_VC, histories, log, edge_VV, closes)


def read_histories(
    events: Table,
    split: Split,
    vocabulary: list[str],
    *,
    tied_sets: bool,
    folder: Path | None = None,
) -> Histories:
    """Read the events of known items; with `tied_sets` the order within one time is canonical.

    It is drawn by hash: a window that cuts a tied set must not keep the last ids of the alphabet.
    """
    events = events.select("event_id", "user_id", "item_id", "action", "event_ts")
    seen = np.sort(rows_of(events.select("item_id").distinct().to_pyarrow()["item_id"], vocabulary))
    row_S = seen[seen >= 0]  # hashing what nobody met would take long, and is asked by nobody
    items = ibis.memtable(_numbered("item", [vocabulary[row] for row in row_S], row_S + 1))
    found = events.semi_join(items, "item_id").select("user_id").distinct().order_by("user_id")
    user_ids = found.to_pyarrow()["user_id"].to_pylist()
    users = ibis.memtable(_numbered("user", user_ids, np.arange(len(user_ids))))
    rows = phased(events, split).inner_join(items, "item_id").inner_join(users, "user_id")
    rows = rows.mutate(draw=_draw(rows.user_hash, rows.item_hash))
    order = ["draw", "item_id", "action", "event_id"] if tied_sets else ["event_id"]
    codes = [(action, code) for code, action in enumerate(ACTIONS)]
    rows = rows.order_by("user", "phase", "event_ts", *order)
    rows = rows.select("user", "item", "event_ts", "phase", action=rows.action.cases(*codes))
    column = _on_disk(rows, folder)
    histories = Histories(
        user_id_U=user_ids,
        first_U1=np.searchsorted(column["user"], np.arange(len(user_ids) + 1)),
        user_E=column["user"],
        item_E=column["item"],
        action_E=column["action"],
        moment_E=column["event_ts"],
        phase_E=column["phase"],
        group_E=column["user"],
        folder=folder,
    )
    return histories.regrouped(histories.moment_E.__getitem__ if tied_sets else np.copy)


def _numbered(name: str, ids: list[str], number_N: Ints) -> pa.Table:
    """Return ids with their numbers and hashes."""
    hashes = b"".join(_hash(one) for one in ids)
    return pa.table(
        {
            f"{name}_id": pa.array(ids, pa.string()),
            name: number_N,
            f"{name}_hash": np.frombuffer(hashes, "<u8"),
        }
    )


def _hash(one: str) -> bytes:
    return hashlib.blake2b(one.encode(), digest_size=8).digest()


def tie_order(user_id: str, item_id: str) -> int:
    """Return where a history sorts an item among those of the same moment; see `_draw`."""
    user, item = (int.from_bytes(_hash(one), "little") for one in (user_id, item_id))
    whole = _HALF * _HALF
    return (((user * _ODD) % whole ^ item) * _ODD) % whole


def _draw(user: ir.IntegerColumn, item: ir.IntegerColumn) -> ir.IntegerColumn:
    """Return a number for each user and item, as random as their hashes, the same in every run."""
    return _times_odd(_times_odd(user) ^ item)


def _times_odd(word: ir.IntegerColumn) -> ir.IntegerColumn:
    """Multiply modulo 2 ** 64, half by half: a product that is too large is an error in SQL."""
    top, low = (ibis.literal(half, "uint64") for half in divmod(_ODD, _HALF))
    half, mask = ibis.literal(_HALF, "uint64"), ibis.literal(_HALF - 1, "uint64")
    word_top, word_low = word >> 32, word & mask
    across = ((word_low * top) & mask) + ((word_top * low) & mask)
    product = word_low * low
    return ((across + (product >> 32)) & mask) * half + (product & mask)


def _on_disk(rows: Table, folder: Path | None) -> dict[str, Ints]:
    """Sort out of core and read the result back a part at a time."""
    with TemporaryDirectory(dir=folder) as aside:
        path = Path(aside) / "sorted.parquet"
        rows.to_parquet(path)
        with pq.ParquetFile(path) as file:
            batches = file.iter_batches(mapped.PART)
            return mapped.columns(batches, tuple(file.schema_arrow.names), folder)
