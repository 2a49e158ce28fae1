"""Amazon 2014 5-core: one line a user with the items in order, and text by ASIN; no times at all.

Order is all there is: event n of a user is dated n seconds after 1970-01-01, with time_kind
`ordinal`, so that sorting by time is the given order and every time bias is switched off.
"""

from __future__ import annotations

import json
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from tessera.contracts.errors import BadInput
from tessera.stages.ingest.counts import Rejected
from tessera.stages.ingest.decode import whole
from tessera.stages.ingest.draft import Draft, Drafts
from tessera.stages.ingest.engine import FILE, ROW, Engine
from tessera.stages.ingest.find import Found, find, listed, maybe, only, unpacked
from tessera.stages.ingest.layout import Layout
from tessera.stages.ingest.params import IngestParams
from tessera.stages.ingest.raw import Lines, read_lines, stage_columns

_TEXTS = Layout(("item_id", "title", "sales_type", "categories", "brand"), 1, "\t", False, True)
_DIGITS = 9
_NAMES = {"user_id": "user", "item_id": "item"}
_BRACKETS = r"""[\[\]'"]"""


def drafts(folder: Path, engine: Engine, _params: IngestParams) -> Drafts:
    """Read the sequence file, the maps of its numbers, and the item text."""
    maps = only(folder, "*_datamaps.json")
    names = _maps(maps)
    sequences, rejected = _sequences(_sequence_file(folder, maps))
    texts = read_lines(engine, [only(folder, "*.item")], _TEXTS, "texts")
    return {
        "items": _items(texts, stage_columns(engine, names["item"], "catalogue")),
        "events": Draft(_events(engine, sequences, names), rejected, source_names=_NAMES),
    }


def _maps(file: Found) -> dict[str, dict[str, pa.Array]]:
    """Read which number stands for which user and which ASIN."""
    try:
        raw = json.loads(whole(file.path))
        found = {
            name: {"number": pa.array(raw[f"id2{name}"].keys(), pa.string()),
                   "id": pa.array(raw[f"id2{name}"].values(), pa.string())}
            for name in ("user", "item")
        }  # fmt: skip
    except (ValueError, KeyError, AttributeError, pa.ArrowInvalid) as error:
        raise BadInput(
            f"{file.label} should hold JSON with id2user and id2item: fetch it again ({error})"
        ) from error
    count = len(found["item"]["number"])
    found["item"][FILE] = pa.repeat(pa.scalar(file.label), count)
    found["item"][ROW] = pa.array(range(1, count + 1), pa.int64())
    return found


def _sequence_file(folder: Path, maps: Found) -> Found:
    """Find the file of sequences among texts of other kinds: named like the maps, or all numbers.

    Raises
    ------
    BadInput
        If it is not one file.
    """
    found = find(folder, "*.txt")
    named = unpacked(maps.label).removesuffix("_datamaps.json") + ".txt"
    chosen = maybe(folder, named) or found
    if len(chosen) > 1:
        chosen = [one for one in found if _holds_numbers(one)]
    if len(chosen) != 1:
        raise BadInput(
            f"{len(chosen)} of {listed(found)} read like sequences: name the one that is meant "
            f"{named}"
        )
    return chosen[0]


def _holds_numbers(file: Found) -> bool:
    cells = whole(file.path).split()
    return all(cell.isdigit() for cell in cells)


def _sequences(file: Found) -> tuple[dict[str, pa.Array], tuple[Rejected, ...]]:
    """Unroll each line into one row an event; a line of one number holds none."""
    try:
        lines = whole(file.path).decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise BadInput(f"{file.label} is not UTF-8: fetch it again ({error.reason})") from error
    cells = [(row, line.split()) for row, line in enumerate(lines, 1) if line.strip()]
    columns = {
        "user": pa.array([cell[0] for _, cell in cells for _ in cell[1:]], pa.string()),
        "item": pa.array([item for _, cell in cells for item in cell[1:]], pa.string()),
        "place": pa.array([at for _, cell in cells for at in range(1, len(cell))], pa.int64()),
        FILE: pa.repeat(pa.scalar(file.label), sum(len(cell) - 1 for _, cell in cells)),
        ROW: pa.array([row for row, cell in cells for _ in cell[1:]], pa.int64()),
    }
    bare = [(row, cell[0]) for row, cell in cells if len(cell) == 1]
    told = "line holds a user and no item"
    return columns, tuple(Rejected(file.label, row, told, user) for row, user in bare)


def _events(
    engine: Engine, sequences: dict[str, pa.Array], names: dict[str, dict[str, pa.Array]]
) -> ir.Table:
    raw = stage_columns(engine, sequences, "sequences")
    users = stage_columns(engine, names["user"], "users_by_number")
    users = users.select(_user=users.number, user_name=users.id)
    items = engine.read(engine.spill / "raw_catalogue.parquet", "items_by_number")
    items = items.select(_item=items.number, item_name=items.id)
    named = raw.left_join(users, raw.user == users._user)
    named = named.left_join(items, named.item == items._item)
    return named.select(
        event_id=named.user.lpad(_DIGITS, "0")
        + "-"
        + named.place.cast("string").lpad(_DIGITS, "0"),
        user_id=ibis.coalesce(named.user_name, named.user),
        item_id=ibis.coalesce(named.item_name, named.item),
        action=ibis.literal("buy"),
        event_ts=named.place.as_timestamp("s"),
        time_kind=ibis.literal("ordinal"),
        **{FILE: named[FILE], ROW: named[ROW]},
    )


def _items(lines: Lines, catalogue: ir.Table) -> Draft:
    """Take the described items, then those that the maps know only by ASIN."""
    raw = lines.rows
    categories = _plain(raw.categories)
    described = raw.select(
        item_id=raw.item_id,
        name=ibis.coalesce(_plain_entities(raw.title), raw.item_id),
        category=_plain_entities(raw.sales_type),
        subcategory=categories.re_replace("^.*, ", ""),
        issuer=_plain_entities(raw.brand),
        text=_sentence(_plain_entities(raw.title), _plain_entities(raw.brand), categories),
        **{FILE: raw[FILE], ROW: raw[ROW]},
    )
    unknown = ibis.null("string")
    bare = catalogue.anti_join(raw, catalogue.id == raw.item_id)
    named = bare.select(
        item_id=bare.id,
        name=bare.id,
        category=unknown,
        subcategory=unknown,
        issuer=unknown,
        text=unknown,
        **{FILE: bare[FILE], ROW: bare[ROW]},
    )
    return Draft(described.union(named), lines.rejected)


def _plain_entities(text: ir.StringColumn) -> ir.StringColumn:
    return text.replace("&quot;", '"').replace("&#39;", "'").replace("&amp;", "&")


def _plain(categories: ir.StringColumn) -> ir.StringColumn:
    """Drop the quotes and brackets of a printed Python list."""
    return _plain_entities(categories.re_replace(_BRACKETS, ""))


def _sentence(*parts: ir.StringColumn) -> ir.StringColumn:
    text = ibis.literal("")
    for part in parts:
        text = text + part.fill_null("") + " "
    return text.re_replace(" +", " ").strip().nullif("")
