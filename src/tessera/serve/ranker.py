"""Order retrieved items by the ranking head of a bundle, from the facts that lie beside it.

The features and the pass of the model are those of the batch that the gate judged: the same
functions over the same tables, only that nothing after the cut is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import ibis
import numpy as np
import pyarrow as pa
from duckdb import Error as DuckDBError
from ibis import Table

from tessera.contracts.arrays import Float32s, Float64s
from tessera.contracts.arrow import DAY_US
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.lookup import rows_of
from tessera.contracts.split import load_split
from tessera.model.nn.device import threads
from tessera.model.sequences.catalogue import microsecond, read_catalogue
from tessera.model.sequences.fact_tables import (
    FactTables,
    has_facts,
    open_facts,
    people_of,
    read_facts,
)
from tessera.model.sequences.histories import Histories
from tessera.model.sequences.laid_out import open_laid_out
from tessera.model.sequences.reading import read_histories
from tessera.model.sequences.requests import Requests
from tessera.model.trunk.log_scores import Known, score_log
from tessera.model.trunk.model import SequenceModel
from tessera.model.trunk.saved import load_model
from tessera.serve.shelf import Shelf
from tessera.shared.features.facts import NOBODY, Facts
from tessera.shared.features.prices import close_before


@dataclass(frozen=True, slots=True)
class _BehindPadding(Mapping[str, int]):
    """Rows of a model by those of a table, which has no padding."""

    row: Mapping[str, int]

    def __getitem__(self, item_id: str) -> int:
        return self.row[item_id] + 1

    def __iter__(self) -> Iterator[str]:
        return iter(self.row)

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True, slots=True)
class Ranker:
    """A ranking head with everything that it asks for."""

    model: SequenceModel
    histories: Histories
    facts: Facts
    row: Mapping[str, int]
    """Row of each item in the model; 0 is no item."""
    person: dict[str, int]
    """Number of each investor."""
    item_ids: list[str]
    """Item of each row, from row 1 on."""
    moment: int
    """When to ask, in microseconds since 1970: just after the last thing that is known."""

    def has_acted(self, user_id: str) -> bool:
        """Tell whether the investor has a history."""
        return NOBODY < self.person.get(user_id, NOBODY) < len(self.histories.user_id_U)

    def published(self, person: int) -> int | None:
        """Return since when the last version of an investor is known; None if there is none."""
        mine = self.facts.versions.of(person)
        return int(self.facts.since_U[mine[-1]]) if len(mine) else None

    def unit_eur(self, id_I: pa.Array) -> Float64s:
        """Return what one unit of each item costs as of the cut; NaN where nobody knows."""
        row_I = rows_of(id_I, self.item_ids) + 1
        day_I = np.full(len(row_I), self.moment // DAY_US)
        return close_before(self.facts.closes, row_I, day_I)

    def scores(self, user_id: str, item_ids: list[str], moment: int | None = None) -> Float32s:
        """Return what the model serves with, one for each item, best largest.

        Parameters
        ----------
        user_id : str
            Investor; an unknown one has no history.
        item_ids : list of str
            Candidates; one that the model does not know gets the least score.
        moment : int, optional
            Time of the request in microseconds since 1970; None is just after the cut.
        """
        person = self.person.get(user_id, NOBODY)
        item_C = np.array([self.row.get(item, 0) for item in item_ids], np.int64)
        asked = Requests(
            user_R=np.array([person if self.has_acted(user_id) else NOBODY]),
            moment_R=np.array([self.moment if moment is None else moment]),
            first_R1=np.array([0, len(item_C)]),
            item_C=item_C,
        )
        # A bundle carries no effects of being shown, and 0 is an average one.
        known = Known(np.array([person]), item_C, np.zeros(len(item_C), np.float32))
        with threads(1):
            return score_log(self.model, self.facts, self.histories, asked, known).served_C


def open_ranker(bundle: Path, shelf: Shelf | None = None) -> Ranker | None:
    """Read the ranking head of a bundle; None if its model ranks nothing.

    A million ids are kept once, where they are those of the `shelf`.

    Raises
    ------
    BrokenBundle
        If model or facts are damaged or do not belong together.
    """
    folder = bundle / "facts"
    engine = ibis.duckdb.connect()
    try:
        engine.raw_sql("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        return _read(bundle, shelf, *open_facts(folder, engine)) if has_facts(folder) else None
    except (OSError, KeyError, TypeError, ValueError, DuckDBError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        told = f"{bundle.name}: its ranking head cannot be read ({reason}); publish it again"
        raise BrokenBundle(told) from error
    finally:
        engine.disconnect()


def _read(bundle: Path, shelf: Shelf | None, events: Table, tables: FactTables) -> Ranker:
    split, catalogue = load_split(bundle / "split.json"), read_catalogue(tables.items)
    model, vocabulary = load_model(bundle / "model", mapped=True)
    if vocabulary != catalogue.vocabulary:
        raise BrokenBundle(f"{bundle}: model and facts know other items; publish it again")
    row: Mapping[str, int]
    if shelf is not None and vocabulary == shelf.ids:
        vocabulary, row = shelf.ids, _BehindPadding(shelf.row)
    else:
        row = dict(zip(vocabulary, range(1, len(vocabulary) + 1), strict=True))
    catalogue = replace(catalogue, vocabulary=vocabulary)
    tied_sets = model.shape.tied_sets
    laid = open_laid_out(bundle / "facts", len(vocabulary), tied_sets=tied_sets)
    histories, relations = (laid.histories, laid.relations) if laid else (None, None)
    if histories is None:
        histories = read_histories(events, split, vocabulary, tied_sets=tied_sets)
    people = people_of(histories.user_id_U, tables.users)
    return Ranker(
        model,
        histories,
        read_facts(tables, histories, catalogue, model.codes_VC.numpy(), people, relations),
        row,
        {user: number for number, user in enumerate(people)},
        vocabulary,
        microsecond(split.cut) + 1,
    )
