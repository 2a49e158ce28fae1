"""The served log as arrays: who was offered what, with which probability, and what came of it.

Shapes: N requests, L positions, C candidates, I items, U users.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from ibis import Table

from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.offpolicy.requests import NOBODY, Requests, Scores
from tessera.shared.features.asof import as_of
from tessera.shared.features.attribution import reward
from tessera.shared.policies.suitability import UNKNOWN

_READ = (
    "request_id",
    "position",
    "event_ts",
    "user_id",
    "item_id",
    "policy_id",
    "candidate_ids",
    "candidate_propensities",
    "propensity",
    "reward",
    "dismissed",
    "risk_class",
    "capacity_class",
)


def attributed(exposures: Table, outcomes: Table, users: Table, window_days: float) -> Table:
    """Add to each exposure what it earned, and the classes of the user as known at that moment."""
    answers = reward(exposures, outcomes, window_days)
    key = ["request_id", "position", "item_id"]
    earned = exposures.join(answers.select(*key, "reward", "dismissed"), key)
    versions = users.select("user_id", "valid_from", "risk_class", "capacity_class")
    return as_of(earned, versions, by="user_id", at="event_ts", since="valid_from")


def requests(exposures: Table, item_ids: pa.Array) -> Requests:
    """Read attributed exposures (see `attributed`) into arrays.

    A position that was logged twice keeps its first row; `counts` tells how many there were.  A
    request of which a row was lost is left out; `dropped` tells how many and why.
    """
    ordered = exposures.order_by(
        "request_id", "position", "event_ts", "item_id", "user_id", "propensity"
    )
    rows = ordered.select(*_READ).to_pyarrow()
    fresh = ~_repeats(rows, ("request_id", "position"))
    counts = {"exposures": len(rows), "exposures_duplicate": int((~fresh).sum())}
    rows, dropped = _complete(rows.filter(pa.array(fresh)).combine_chunks(), item_ids)
    request_R, first_N = _in_time_order(rows)
    position_R = numbers(rows["position"]) - 1
    shape = (len(first_N), int(position_R.max(initial=0)) + 1)
    candidate_RC = _padded(indices(_flat(rows, "candidate_ids"), item_ids), rows, NOBODY)
    shown_R = indices(rows["item_id"], item_ids)
    match_RC = (candidate_RC == shown_R[:, None]) & (shown_R >= 0)[:, None]
    chosen_R = np.where(match_RC.any(axis=1), match_RC.argmax(axis=1), NOBODY)
    counts["exposures_outside_candidates"] = int((chosen_R == NOBODY).sum())

    def spread(value_R: npt.NDArray[Any], fill: float) -> npt.NDArray[Any]:
        """Lay rows out by request and position."""
        laid = np.full((*shape, *value_R.shape[1:]), fill, dtype=value_R.dtype)
        laid[request_R, position_R] = value_R
        return laid

    served_RC = _padded(_flat(rows, "candidate_propensities").to_numpy(), rows, 0.0)
    user = rows["user_id"].combine_chunks().dictionary_encode()
    return Requests(
        request_ids=rows["request_id"].combine_chunks().take(pa.array(first_N)),
        event_us_N=numbers(rows["event_ts"])[first_N],
        user_N=numbers(user.indices)[first_N],
        user_ids=user.dictionary,
        risk_N=classes(rows["risk_class"])[first_N],
        capacity_N=classes(rows["capacity_class"])[first_N],
        candidate_NC=candidate_RC[first_N],
        chosen_NL=spread(chosen_R, NOBODY),
        served_NLC=spread(served_RC, 0.0),
        propensity_NL=spread(rows["propensity"].to_numpy(), 1.0),
        reward_NL=spread(rows["reward"].to_numpy().astype(np.float64), 0.0),
        dismissed_NL=spread(rows["dismissed"].to_numpy().astype(np.float64), 0.0),
        counts=counts,
        policy_ids=rows["policy_id"].combine_chunks().take(pa.array(first_N)),
        dropped=dropped,
    )


def with_outcomes(log: Requests, tally: dict[str, int]) -> Requests:
    """Add how many outcomes there were and how many of them repeated another."""
    seen = {"outcomes": tally["outcomes"], "outcomes_duplicate": tally["duplicate_outcomes"]}
    return replace(log, counts={**log.counts, **seen})


def _complete(rows: pa.Table, item_ids: pa.Array) -> tuple[pa.Table, dict[str, int]]:
    """Keep requests whose whole slate was logged, and count the others by the first that is wrong.

    A slate that ends early is whole only if nothing was left to show.
    """
    start_R = ~_repeats(rows, ("request_id",))
    first_N, request_R = np.flatnonzero(start_R), np.cumsum(start_R) - 1
    size_N = np.bincount(request_R, minlength=len(first_N))
    place_R = np.arange(len(rows)) - first_N[request_R] + 1
    candidate_RC = _padded(indices(_flat(rows, "candidate_ids"), item_ids), rows, NOBODY)
    user_R = numbers(rows["user_id"].combine_chunks().dictionary_encode().indices)
    wrong_R = {
        "position_missing": numbers(rows["position"]) != place_R,
        "candidates_disagree": (candidate_RC != candidate_RC[first_N[request_R]]).any(axis=1),
        "users_disagree": user_R != user_R[first_N[request_R]],
        "item_repeated": _shown_again(request_R, indices(rows["item_id"], item_ids)),
    }
    dropped, whole_N = {}, np.ones(len(first_N), dtype=np.bool_)
    for reason, found_R in wrong_R.items():
        found_N = whole_N & (np.bincount(request_R, found_R, len(first_N)) > 0)
        dropped[reason], whole_N = int(found_N.sum()), whole_N & ~found_N
    last = rows.take(pa.array(first_N + size_N - 1)).combine_chunks()
    short_N = whole_N & (size_N < size_N[whole_N].max(initial=0)) & _could_go_on(last, item_ids)
    dropped["ends_early"], whole_N = int(short_N.sum()), whole_N & ~short_N
    return rows.filter(pa.array(whole_N[request_R])).combine_chunks(), dropped


def _shown_again(request_R: Ints, shown_R: Ints) -> Bools:
    """Mark rows whose item stands on their slate more than once: its outcomes have no place."""
    slot_R = request_R * (int(shown_R.max(initial=0)) + 2) + shown_R - NOBODY
    _, which_R, times = np.unique(slot_R, return_inverse=True, return_counts=True)
    return np.asarray((times[which_R] > 1) & (shown_R != NOBODY))


def _could_go_on(rows: pa.Table, item_ids: pa.Array) -> Bools:
    """Tell where the serving policy could have shown another item than the one it showed."""
    candidate_RC = _padded(indices(_flat(rows, "candidate_ids"), item_ids), rows, NOBODY)
    served_RC = _padded(_flat(rows, "candidate_propensities").to_numpy(), rows, 0.0)
    shown_R = indices(rows["item_id"], item_ids)
    return np.asarray(((served_RC > 0) & (candidate_RC != shown_R[:, None])).any(axis=1))


def aligned_scores(scores: Table, log: Requests, item_ids: pa.Array) -> Scores:
    """Read the scores of the logged requests."""
    rows = scores.order_by("request_id").to_pyarrow().combine_chunks()
    if len(rows) == 0:
        return Scores(np.zeros(log.candidate_NC.shape), None, None, len(log))
    row_N = indices(log.request_ids, rows["request_id"])
    ids_RC = _padded(indices(_flat(rows, "candidate_ids"), item_ids), rows, NOBODY)
    width = log.candidate_NC.shape[1]
    found_N = (row_N != NOBODY) & (ids_RC[row_N, width:] == NOBODY).all(axis=1)
    found_N &= (_as_wide(ids_RC[row_N], width, NOBODY) == log.candidate_NC).all(axis=1)

    def laid(name: str) -> Float64s:
        score_RC = _padded(_flat(rows, name).to_numpy(zero_copy_only=False), rows, 0.0)
        return np.where(found_N[:, None], _as_wide(score_RC[row_N], width, 0.0), 0.0)

    def wholly(name: str) -> Float64s | None:
        return None if rows[name].null_count else laid(name)

    nulls = [rows[name].null_count for name in ("champion_scores", "candidate_chances")]
    # What is scored for some requests alone can neither be replayed nor held against outcomes.
    partly = max(count for count in (0, *nulls) if count < len(rows))
    missing = partly or int((~found_N).sum())
    champion_NC, chance_NC = wholly("champion_scores"), wholly("candidate_chances")
    return Scores(laid("candidate_scores"), champion_NC, chance_NC, missing)


def _as_wide(value_NC: npt.NDArray[Any], width: int, fill: float) -> npt.NDArray[Any]:
    """Cut rows to a width, or fill them up: what is not judged may have other slates.

    >>> _as_wide(np.array([[1, 2]]), 3, -1), _as_wide(np.array([[1, 2]]), 1, -1)
    (array([[ 1,  2, -1]]), array([[1]]))
    """
    more = max(0, width - value_NC.shape[1])
    return np.pad(value_NC, ((0, 0), (0, more)), constant_values=fill)[:, :width]


def _in_time_order(rows: pa.Table) -> tuple[Ints, Ints]:
    """Request of each row, and first row of each request, requests numbered by time."""
    start_R = ~_repeats(rows, ("request_id",))
    first_N = np.flatnonzero(start_R)
    order_N = np.argsort(numbers(rows["event_ts"])[first_N], kind="stable")
    rank_N = np.empty_like(order_N)
    rank_N[order_N] = np.arange(len(order_N))
    return rank_N[np.cumsum(start_R) - 1], first_N[order_N]


def _repeats(rows: pa.Table, names: tuple[str, ...]) -> Bools:
    """Mark rows that equal the row before in these columns."""
    same = np.zeros(len(rows), dtype=np.bool_)
    same[1:] = True
    for name in names:
        column = rows[name]
        same[1:] &= pc.equal(column[1:], column[:-1]).to_numpy()
    return same


def numbers(values: pa.ChunkedArray | pa.Array) -> Ints:
    """Cast to int64; times become microseconds."""
    return np.asarray(values.cast(pa.int64()).to_numpy(), dtype=np.int64)


def classes(values: pa.ChunkedArray) -> Ints:
    """Risk and capacity classes, UNKNOWN where null."""
    return numbers(pc.fill_null(values, UNKNOWN))


def indices(ids: pa.ChunkedArray | pa.Array, known: pa.Array) -> Ints:
    """Index of each id among the known ones, NOBODY if it is unknown."""
    return numbers(pc.fill_null(pc.index_in(ids, value_set=known), NOBODY))


def _flat(rows: pa.Table, name: str) -> pa.Array:
    return pc.list_flatten(rows[name].combine_chunks())


def _padded(flat: npt.NDArray[Any], rows: pa.Table, fill: float) -> npt.NDArray[Any]:
    """Lay the candidates of each row out as a row of a matrix."""
    length_R = numbers(pc.list_value_length(rows["candidate_ids"]))
    width = max(int(length_R.max(initial=0)), 1)
    padded_RC = np.full((len(length_R), width), fill, dtype=flat.dtype)
    padded_RC[np.arange(width) < length_R[:, None]] = flat
    return padded_RC
