"""The answers: true value of any policy, true effect of being shown, true effects of holding.

    P(response at position k) = 1 - (1 - reach_k click) (1 - shown)

Shapes: N requests, C candidates, L positions, K topics, I items, U users.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tessera.contracts.arrays import Bools, Float32s, Float64s
from tessera.shared.policies.exploration import ThompsonPolicy
from tessera.shared.policies.slate import SlatePolicy, Step, scored_step, step_marginals
from tessera.stages.synth.behaviour import Market, organic_intensity, visits
from tessera.stages.synth.communities import draw_communities
from tessera.stages.synth.explorer import house_step, logging_policy
from tessera.stages.synth.files import item_ids
from tessera.stages.synth.interactions import EXAMINATION
from tessera.stages.synth.log import Chunk
from tessera.stages.synth.purposes import draw_wants

FOLDER = "truth"
_ARRAYS = ("click", "organic", "shown", "dismiss", "score")


@dataclass(frozen=True, slots=True)
class Truth:
    """True probabilities for each candidate of each logged request, in order of request_id."""

    item_NC: npt.NDArray[np.int32]
    """Item numbers in the order of `candidate_ids`."""
    click_NC: Float32s
    """P(click | examined)."""
    organic_NC: Float32s
    """P(bought inside the attribution window | not shown)."""
    shown_NC: Float32s
    """P(bought inside the attribution window | shown)."""
    dismiss_NC: Float32s
    """P(dismissed | examined, not clicked, not bought)."""
    score_NC: Float32s
    """Scores of the logging policy."""
    reach_L: Float64s
    """P(position examined)."""
    policy: SlatePolicy | ThompsonPolicy
    """The logging policy."""
    stddev_NC: Float32s | None = None
    """How unsure its scores were; None if it believes them."""
    explores_N: Bools | None = None
    """Requests that had budget left; None if there is no budget."""


class TruthSink:
    """Writes the answers beside the log while it grows."""

    def __init__(self, folder: Path, market: Market) -> None:
        shape = (market.params.requests, market.params.candidates)
        self._arrays = {name: _create(folder / f"{name}.npy", "<f4", shape) for name in _ARRAYS}
        self._items = _create(folder / "item.npy", "<i4", shape)
        if market.params.explorer == "thompson":
            self._arrays["stddev"] = _create(folder / "stddev.npy", "<f4", shape)
        if market.params.explore_per_day is not None:
            self._arrays["explores"] = _create(folder / "explores.npy", "|b1", shape[:1])

    def add(self, chunk: Chunk) -> None:
        """Append the answers of a chunk."""
        rows = slice(chunk.first, chunk.first + len(chunk.slates.user_N))
        self._items[rows] = chunk.slates.item_NC
        for name in ("score", "stddev"):
            if name in self._arrays:
                self._arrays[name][rows] = getattr(chunk.grounds, f"{name}_NC")
        if "explores" in self._arrays:
            self._arrays["explores"][rows] = chunk.grounds.explores_N
        for name in _ARRAYS[:-1]:
            self._arrays[name][rows] = getattr(chunk.answers, f"{name}_NC")

    def close(self) -> None:
        """Bring everything to the disk."""
        for array in (*self._arrays.values(), self._items):
            array.flush()


def load_truth(source: Path) -> Truth:
    """Open the answers of a market written by `synth`; arrays stay on the disk until used."""
    folder = source / FOLDER
    raw = json.loads((folder / "market.json").read_text())
    arrays = {f"{name}_NC": np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
    policy = raw["logging_policy"]
    return Truth(
        item_NC=np.load(folder / "item.npy", mmap_mode="r"),
        reach_L=np.array(raw["reach"]),
        policy=ThompsonPolicy(**policy) if "draws" in policy else SlatePolicy(**policy),
        stddev_NC=_optional(folder / "stddev.npy"),
        explores_N=_optional(folder / "explores.npy"),
        **arrays,
    )


def expected_reward(truth: Truth, rows: slice = slice(None)) -> Float64s:
    """Probability of a response (click or purchase in time) by request, position and candidate."""
    miss_NLC = 1.0 - truth.reach_L[:, None] * truth.click_NC[rows, None, :]
    reward_NLC: Float64s = 1.0 - miss_NLC * (1.0 - truth.shown_NC[rows, None, :].astype(np.float64))
    return reward_NLC


def value_by_request(
    truth: Truth, scores_NC: Float64s, policy: SlatePolicy, rows: slice = slice(None)
) -> Float64s:
    """Work out expected responses per request if `policy` had chosen among the same candidates.

    Parameters
    ----------
    truth : Truth
        Of the market.
    scores_NC : array
        Scores of the policy for the candidates of the requests in `rows`.
    policy : SlatePolicy
        How scores become slates.
    rows : slice
        Requests to look at, in order of request_id.
    """
    return _value(truth, scored_step(scores_NC, policy), rows)


def _value(truth: Truth, step: Step, rows: slice) -> Float64s:
    reward_NLC = expected_reward(truth, rows)
    everything_NC = np.ones(truth.item_NC[rows].shape, dtype=bool)
    marginal_NLC = step_marginals(step, everything_NC, reward_NLC.shape[1])
    value_N: Float64s = (marginal_NLC * reward_NLC).sum(axis=(1, 2))
    return value_N


def true_value(
    truth: Truth, scores_NC: Float64s, policy: SlatePolicy, rows: slice = slice(None)
) -> float:
    """Mean of `value_by_request`: the number that off-policy estimates aim at."""
    return float(value_by_request(truth, scores_NC, policy, rows).mean())


def logging_value(truth: Truth, rows: slice = slice(None)) -> float:
    """Return the value of the policy that wrote the log."""
    score_NC = truth.score_NC[rows].astype(np.float64)
    stddev_NC, explores_N = np.zeros(score_NC.shape), np.ones(len(score_NC), dtype=np.bool_)
    if truth.stddev_NC is not None:
        stddev_NC = truth.stddev_NC[rows].astype(np.float64)
    if truth.explores_N is not None:
        explores_N = truth.explores_N[rows]
    step = house_step(truth.policy, score_NC, stddev_NC, explores_N)
    return float(_value(truth, step, rows).mean())


def oracle_scores(truth: Truth, rows: slice = slice(None)) -> Float64s:
    """Score candidates as one who knows the truth would: log-odds of a response at the top."""
    reward_NC = expected_reward(truth, rows)[:, 0]
    scores_NC: Float64s = np.log(reward_NC / (1.0 - reward_NC))
    return scores_NC


def true_cate(truth: Truth, rows: slice = slice(None)) -> Float64s:
    """Effect of being shown on buying in time, for each candidate of each request."""
    cate_NC: Float64s = truth.shown_NC[rows].astype(np.float64) - truth.organic_NC[rows]
    return cate_NC


def true_edges(source: Path) -> pa.Table:
    """Read the planted effects of holding `cause_id` on buying `effect_id`."""
    return pq.read_table(source / FOLDER / "edges.parquet")


def write_market(market: Market, folder: Path) -> None:
    """Write what was fixed before the first visit."""
    folder.mkdir()
    params, people, assets = market.params, market.investors, market.assets
    # A market without what was planted later is the same to the byte as before it could be.
    unplanted = {name for name in ("communities", "queries") if not getattr(params, name)}
    raw = {
        "reach": [EXAMINATION**k for k in range(params.positions)],
        "logging_policy": asdict(logging_policy(params)),
        "params": params.model_dump(mode="json", exclude=unplanted)
        | {"slate_size": params.positions},
        "click_bias": market.click_bias,
    }
    (folder / "market.json").write_text(json.dumps(raw, indent=2) + "\n")
    np.save(folder / "taste_first.npy", people.taste_first_UK)
    np.save(folder / "taste_last.npy", people.taste_last_UK)
    np.save(folder / "wealth.npy", people.wealth_U)
    np.save(folder / "item_vector.npy", assets.vector_IK)
    np.save(folder / "item_topic.npy", assets.topic_I)
    np.save(folder / "popularity.npy", assets.popularity_I)
    if params.communities:
        np.save(folder / "item_community.npy", draw_communities(params)[1])
    if params.queries:
        np.save(folder / "item_purpose.npy", draw_wants(params).serves_IP)
    pq.write_table(_edges(market), folder / "edges.parquet")


def _edges(market: Market) -> pa.Table:
    """List planted effects: log-intensity, and mean change of purchases per visit."""
    cause_M, slot_M = np.nonzero(market.assets.target_IE >= 0)
    target_M = market.assets.target_IE[cause_M, slot_M]
    strength_M = market.assets.strength_IE[cause_M, slot_M]
    some = np.arange(min(market.params.users, 2_000))
    middle = market.params.days // 2
    none_UI = np.zeros((len(some), market.params.items), dtype=np.float32)
    seen = visits(market, some, np.full(len(some), float(middle)), none_UI, middle)
    base_I = organic_intensity(market, seen).mean(axis=0, dtype=np.float64)
    return pa.table(
        {
            "cause_id": item_ids(cause_M),
            "effect_id": item_ids(target_M),
            "strength": strength_M,
            "effect": base_I[target_M] * np.expm1(strength_M),
        }
    )


def _optional(path: Path) -> Any:
    return np.load(path, mmap_mode="r") if path.exists() else None


def _create(path: Path, dtype: str, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    array: np.memmap[Any, Any] = np.lib.format.open_memmap(path, "w+", np.dtype(dtype), shape)
    return array
