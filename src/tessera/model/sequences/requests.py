"""Logged requests in the rows of a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ibis import Table

from tessera.contracts.arrays import Ints
from tessera.contracts.split import Split
from tessera.model.sequences.catalogue import microseconds, rows_of


@dataclass(frozen=True, slots=True)
class Requests:
    """Logged requests and the candidates of each, one after the other."""

    user_R: Ints
    """Index of the user in the histories; -1 if unknown there."""
    moment_R: Ints
    """Microseconds since 1970."""
    first_R1: Ints
    """Candidates of request r are `first_R1[r] : first_R1[r + 1]`."""
    item_C: Ints
    """Row of the candidate in the item table; 0 if unknown to the model."""


def read_requests(exposures: Table, split: Split) -> pa.Table:
    """Read the requests after the cut, one row each, sorted by request."""
    top = exposures.filter((exposures.event_ts > split.cut) & (exposures.position == 1))
    return (
        top.select("request_id", "user_id", "event_ts", "candidate_ids")
        .to_pyarrow()
        .sort_by("request_id")
    )


def as_requests(rows: pa.Table, user_ids: list[str], vocabulary: list[str]) -> Requests:
    """Translate logged requests into the rows of a model: its users and its items."""
    candidates = rows["candidate_ids"].combine_chunks()
    return Requests(
        user_R=rows_of(rows["user_id"], user_ids),
        moment_R=microseconds(rows["event_ts"]),
        first_R1=np.concatenate([[0], np.cumsum(pc.list_value_length(candidates).to_numpy())]),
        item_C=rows_of(pc.list_flatten(candidates), vocabulary) + 1,
    )
