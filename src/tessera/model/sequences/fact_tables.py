"""Read ranking features from the same tables in training and, as they were at the cut, at serving.

Legend: E events, U versions of investors, I items with 0 for unknown, X trials.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, fields
from pathlib import Path

import ibis
import numpy as np
import pyarrow.compute as pc
from ibis import Table
from scipy.sparse import csr_matrix

from tessera.contracts.arrays import Ints
from tessera.contracts.split import Split, known
from tessera.model.sequences.catalogue import Catalogue, microseconds, read_closes, rows_of
from tessera.model.sequences.histories import Histories
from tessera.shared.features.facts import NOBODY, Facts, Trials
from tessera.shared.features.links import EDGE_KINDS
from tessera.shared.features.prices import PriceHistory

_LIST = "tables.json"
_EVENT = ("event_id", "user_id", "item_id", "action", "event_ts")
_ITEM = ("item_id", "category", "risk_class", "valid_from", "valid_to")
STANDING = ("users", "items", "edges", "trials")
"""Tables that stay as they were published; events, closes and classes of investors are told while
a model serves, the classes behind the versions that it was published with."""


@dataclass(frozen=True, slots=True)
class FactTables:
    """What the features of a candidate are computed from, beside the histories."""

    users: Table
    items: Table
    prices: Table
    edges: Table
    trials: Table
    """Investor, time, item and estimated effect of candidates of past requests."""


@dataclass(frozen=True, slots=True)
class Relations:
    """The largest of the facts, by the rows of the item table."""

    closes: PriceHistory
    edges: dict[str, csr_matrix]
    """See `Facts`."""


def read_trials(cate: Table, exposures: Table) -> Table:
    """Say of every estimated effect for whom and when it was."""
    asked = exposures.select("request_id", "user_id", "event_ts").distinct(on="request_id")
    found = cate.inner_join(asked, "request_id")
    return found.select("user_id", "event_ts", "item_id", "effect")


def save_facts(events: Table, tables: FactTables | None, split: Split, folder: Path) -> None:
    """Write events and facts as they were at the cut, and which there are.

    Without `tables`, for a model that ranks nothing, there are none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = {}
    if tables:
        past = known(events, split).select(*_EVENT).order_by("event_id")
        kept = {"events": past, **_past(tables, split)}
    for name, table in kept.items():
        table.to_parquet(folder / f"{name}.parquet", compression="zstd")
    (folder / _LIST).write_text(json.dumps(list(kept)) + "\n")


def _past(tables: FactTables, split: Split) -> dict[str, Table]:
    """Keep what was known at the cut and is read, each table in one order."""
    users, items, prices = tables.users, tables.items, tables.prices
    edges, trials = tables.edges, tables.trials
    return {
        "users": users.filter(users.valid_from <= split.cut)
        .select("user_id", "valid_from", "risk_class")
        .order_by("user_id", "valid_from"),
        "items": items.select(*_ITEM).order_by("item_id"),
        "prices": prices.filter(prices.price_ts <= split.cut).order_by("item_id", "price_ts"),
        "edges": edges.filter(edges.kind.isin(EDGE_KINDS))
        .select("source_id", "target_id", "kind", "weight")
        .order_by("source_id", "target_id", "kind"),
        "trials": trials.filter(trials.event_ts <= split.cut).order_by(
            "event_ts", "user_id", "item_id", "effect"
        ),
    }


def has_facts(folder: Path) -> bool:
    """Tell whether `save_facts` wrote any there."""
    listed = folder / _LIST
    return listed.exists() and bool(json.loads(listed.read_text()))


def open_facts(folder: Path, engine: ibis.BaseBackend) -> tuple[Table, FactTables]:
    """Open the events and facts that `save_facts` wrote."""
    names = ("events", *(field.name for field in fields(FactTables)))
    paths = [folder / f"{name}.parquet" for name in names]
    events, *tables = (engine.read_parquet(path, table_name=path.stem) for path in paths)
    return events, FactTables(*tables)


def pin_standing(facts: Path, folder: Path) -> None:
    """Copy what stays as it was published of the facts of a bundle."""
    folder.mkdir()
    for name in STANDING:
        shutil.copyfile(facts / f"{name}.parquet", folder / f"{name}.parquet")


def open_standing(folder: Path, engine: ibis.BaseBackend, prices: Table) -> FactTables:
    """Open what `pin_standing` copied, beside prices that went on."""
    read = {name: engine.read_parquet(folder / f"{name}.parquet", table_name=name)
            for name in STANDING}  # fmt: skip
    return FactTables(prices=prices, **read)


def people_of(user_ids: list[str], users: Table) -> list[str]:
    """Return every investor by number: those with events first, as in the histories."""
    known_ids = set(user_ids)
    listed = users.select("user_id").distinct().to_pyarrow()["user_id"].to_pylist()
    return [*user_ids, *sorted(set(listed) - known_ids)]


def read_facts(
    tables: FactTables,
    histories: Histories,
    catalogue: Catalogue,
    code_IL: Ints,
    people: list[str],
    laid: Relations | None = None,
) -> Facts:
    """Lay the tables out as arrays; `code_IL` holds the semantic IDs, 0 where an item has none.

    What was laid out before is not read again.
    """
    if laid is None:
        closes = read_closes(tables.prices, catalogue.vocabulary)
        laid = Relations(closes, read_edges(tables.edges, catalogue.vocabulary))
    versions = tables.users.select("user_id", "valid_from", "risk_class").to_pyarrow()
    items = tables.items.select("item_id", "risk_class", "category").to_pyarrow()
    items = items.sort_by("item_id")
    category = pc.fill_null(items["category"].combine_chunks(), "").dictionary_encode()
    blank = np.asarray(category.dictionary.to_pylist()) == ""
    number_I = np.where(blank[category.indices.to_numpy()], NOBODY, category.indices.to_numpy())
    future = catalogue.from_V == np.iinfo(np.int64).min
    return Facts(
        user_E=histories.user_E,
        item_E=histories.item_E,
        action_E=histories.action_E,
        moment_E=histories.moment_E,
        user_U=rows_of(versions["user_id"], people),
        since_U=microseconds(versions["valid_from"]),
        risk_U=pc.fill_null(versions["risk_class"], 0).to_numpy(),
        risk_I=np.append(0, pc.fill_null(items["risk_class"], 0).to_numpy()),
        category_I=np.append(NOBODY, number_I),
        born_I=np.where(
            future | (catalogue.from_V == catalogue.from_V[0]), NOBODY, catalogue.from_V
        ),
        code_IL=code_IL,
        closes=laid.closes,
        edges=laid.edges,
        trials=_trials(tables.trials, catalogue.vocabulary, people),
        folder=histories.folder,
    )


def _trials(trials: Table, vocabulary: list[str], people: list[str]) -> Trials:
    rows = trials.to_pyarrow()
    return Trials(
        rows_of(rows["user_id"], people),
        microseconds(rows["event_ts"]),
        rows_of(rows["item_id"], vocabulary) + 1,
        rows["effect"].to_numpy(),
    )


def read_edges(edges: Table, vocabulary: list[str]) -> dict[str, csr_matrix]:
    """Read the weights from item to item, by kind."""
    rows = edges.select("source_id", "target_id", "kind", "weight").to_pyarrow()
    source, target = (rows_of(rows[name], vocabulary) + 1 for name in ("source_id", "target_id"))
    weight = rows["weight"].to_numpy()
    shape = (len(vocabulary) + 1, len(vocabulary) + 1)
    found = {}
    for wanted in EDGE_KINDS:
        is_kind = pc.fill_null(pc.equal(rows["kind"], wanted), False).to_numpy()
        is_wanted = is_kind & (source > 0) & (target > 0)
        entries = (weight[is_wanted], (source[is_wanted], target[is_wanted]))
        found[wanted] = csr_matrix(entries, shape=shape)
    return found
