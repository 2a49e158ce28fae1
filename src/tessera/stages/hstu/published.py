"""What the published model says of logged candidates, as it serves them.

A service answers from the facts that lie in the bundle: its own codes, edges, effects, investors
and items.  Events and closes are told to it as they happen, so these alone are the run's.  With
the facts of a run a model of the week before is asked about codes that it never learnt, and is
easier to beat than what is shown.

Legend: R requests, C candidates of all requests one after the other.
"""

from __future__ import annotations

from pathlib import Path

import ibis
import numpy as np
import pyarrow as pa
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


def scores_of_published(
    champion: Path,
    rows: pa.Table,
    happened: tuple[Table, Table],
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
    happened : pair of Table
        Events and prices of the run, of all times.
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
    events, prices = happened
    tied_sets = model.shape.tied_sets
    histories = read_histories(events, split, vocabulary, tied_sets=tied_sets, folder=folder)
    asked = as_requests(rows, histories.user_id_U, vocabulary)
    facts, person_R = None, asked.user_R
    if serving_head(model) is not None:
        try:
            facts, people = _facts(champion / "facts", model, vocabulary, prices, histories)
        except (OSError, KeyError, TypeError, ValueError, DuckDBError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            told = f"{champion}: the facts of the published model cannot be read ({reason})"
            raise BrokenBundle(f"{told}; publish it again") from error
        person_R = rows_of(rows["user_id"], people)
    # A bundle carries no effects of being shown, and 0 is an average one.
    known = Known(person_R, asked.item_C, np.zeros(len(asked.item_C), np.float32))
    return score_log(model, facts, histories, asked, known).served_C


def _facts(
    folder: Path, model: SequenceModel, vocabulary: list[str], prices: Table, histories: Histories
) -> tuple[Facts, list[str]]:
    """Return the facts of a bundle, with what has happened since, and the investors by number."""
    engine = ibis.duckdb.connect()
    try:
        engine.raw_sql("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        tables = open_standing(folder, engine, prices)
        catalogue = read_catalogue(tables.items)
        if catalogue.vocabulary != vocabulary:
            raise ValueError("they know other items than the model")
        people = people_of(histories.user_id_U, tables.users)
        code_IL = model.codes_VC.numpy()
        return read_facts(tables, histories, catalogue, code_IL, people), people
    finally:
        engine.disconnect()
