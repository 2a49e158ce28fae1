"""What the published model says of logged candidates, as it serves them.

A service answers from the facts that lie in the bundle: its own codes, edges, effects and items.
Events, closes and classes of investors are told to it as they happen, so these are the run's: the
classes behind the last version that the bundle has of an investor.  With the facts of a run a model
of the week before is asked about codes that it never learnt, and is easier to beat than what is
shown.

A class that the service was never told, and the source of the run knows, is read here as if it had
been told, as an event is.

Legend: R requests, C candidates of all requests one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from duckdb import Error as DuckDBError
from ibis import Table

from tessera.contracts.arrays import Float32s
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.split import Split
from tessera.model.sequences.catalogue import read_catalogue, rows_of
from tessera.model.sequences.fact_tables import open_standing, people_of, read_facts
from tessera.model.sequences.histories import Histories
from tessera.model.sequences.reading import read_histories
from tessera.model.sequences.requests import as_requests
from tessera.model.trunk.inference import serving_head
from tessera.model.trunk.log_scores import Known, score_log
from tessera.model.trunk.model import SequenceModel
from tessera.model.trunk.saved import load_champion
from tessera.shared.features.facts import Facts


@dataclass(frozen=True, slots=True)
class Happened:
    """What a service is told as it happens."""

    events: Table
    prices: Table
    users: Table


def scores_of_published(
    champion: Path,
    rows: pa.Table,
    happened: Happened,
    split: Split,
    folder: Path | None,
) -> Float32s | None:
    """Score the candidates of each request; None if the champion is no model.

    Parameters
    ----------
    champion : Path
        What is pinned of the published bundle.
    rows : Table
        Requests as `read_requests` gives them.
    happened : Happened
        Tables of the run, of all times.
    split : Split
        Of the run.
    folder : Path, optional
        Disk of the histories.

    Raises
    ------
    BrokenBundle
        If model and facts cannot be read, or do not belong together.
    """
    rival = load_champion(champion)
    if rival is None:
        return None
    model, vocabulary = rival
    tied_sets = model.shape.tied_sets
    histories = read_histories(
        happened.events, split, vocabulary, tied_sets=tied_sets, folder=folder
    )
    asked = as_requests(rows, histories.user_id_U, vocabulary)
    facts, person_R = None, asked.user_R
    if serving_head(model) is not None:
        try:
            facts, people = _facts(champion / "facts", model, vocabulary, happened, histories)
        except (OSError, KeyError, TypeError, ValueError, DuckDBError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            told = f"{champion}: the facts of the published model cannot be read ({reason})"
            raise BrokenBundle(f"{told}; publish it again") from error
        person_R = rows_of(rows["user_id"], people)
    # A bundle carries no effects of being shown, and 0 is an average one.
    known = Known(person_R, asked.item_C, np.zeros(len(asked.item_C), np.float32))
    return score_log(model, facts, histories, asked, known).served_C


def _facts(
    folder: Path,
    model: SequenceModel,
    vocabulary: list[str],
    happened: Happened,
    histories: Histories,
) -> tuple[Facts, list[str]]:
    """Return the facts of a bundle, with what has happened since, and the investors by number."""
    engine = ibis.duckdb.connect()
    try:
        engine.raw_sql("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        tables = open_standing(folder, engine, happened.prices)
        tables = replace(tables, users=_versions(tables.users, happened.users))
        catalogue = read_catalogue(tables.items)
        if catalogue.vocabulary != vocabulary:
            raise ValueError("they know other items than the model")
        people = people_of(histories.user_id_U, tables.users)
        code_IL = model.codes_VC.numpy()
        return read_facts(tables, histories, catalogue, code_IL, people), people
    finally:
        engine.disconnect()


def _versions(published: Table, users: Table) -> Table:
    """Return the versions of a bundle, and behind the last of each investor those of a run."""
    columns = ["user_id", "valid_from", "risk_class"]
    mine = published.select(*columns).to_pyarrow()
    theirs = users.select(*columns).to_pyarrow().cast(mine.schema)
    last = mine.group_by("user_id").aggregate([("valid_from", "max")])
    beside = theirs.join(last, "user_id")
    newer = pc.greater(beside["valid_from"], beside["valid_from_max"])
    later = beside.filter(pc.fill_null(newer, True)).select(columns)
    by_key = [("user_id", "ascending"), ("valid_from", "ascending")]
    return ibis.memtable(pa.concat_tables([mine, later]).sort_by(by_key))
