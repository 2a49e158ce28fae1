"""A small served log whose true click chances are known, as the tables that ope reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pytest

from tessera.contracts import arrow
from tessera.contracts.split import Split, save_split
from tessera.contracts.tables import CODES, EXPOSURES, ITEMS, OUTCOMES, PRICES, SCORES, USERS
from tessera.shared.policies.serving import ServingPolicy, write_policy
from tessera.shared.policies.slate import SlatePolicy, Step, draw_slates, sample_slates, scored_step
from tessera.shared.policies.suitability import PRUDENT, Unknown, write_unknown
from tessera.stages.ope.params import OpeParams
from tessera.stages.ope.stage import run
from tessera.stages.report.stage import run as draw

SMALL = {"min_ess": 100, "reward_trees": 10, "window_days": 0.1, "max_dismissals_rise": 1.0}
"""Params of a log of some thousand requests: it tells no small rise of dismissals from none."""
START = datetime(2024, 1, 1, tzinfo=UTC)
POSITION_EFFECT = np.array([1.0, 0.8, 0.6])
LOGGER = SlatePolicy(temperature=1.0, epsilon=0.2, top_k=10)
SERVED = SlatePolicy(temperature=1.0, epsilon=0.1, top_k=10)

SOUND = {"flip_rate": 0.1, "geometry": 1.0, "levels": [{"used_share": 1.0, "geometry": 1.0}]}
"""Codes that nothing is wrong with."""


@dataclass
class World:
    """Tables of one log and what is true of them."""

    tables: dict[str, pa.Table]
    split: Split
    scores_NC: np.ndarray
    chance_NC: np.ndarray
    allowed_NC: np.ndarray
    folder: Path
    weight: float = 1.0
    uplift_weight: float = 0.0
    """Tells one model from another."""
    judged: tuple[str, ...] = ()
    """Candidates judged before."""
    alpha: float | None = None
    """Error rate of the stream, None for that of the params."""
    told: dict[str, Any] = field(default_factory=dict)
    """What else the runner tells."""
    mflops: float | None = 10.0
    """Million operations of a request; None if the model does not say."""
    unknown: Unknown = PRUDENT
    ranking: dict[str, Any] = field(default_factory=dict)
    health: dict[str, Any] = field(default_factory=lambda: dict(SOUND))
    """What `sid` measured of the codes."""

    def value(self, scores_NC: np.ndarray, policy: SlatePolicy, rng: np.random.Generator) -> float:
        """True value per request after the cut, by playing the policy."""
        after = self.after
        total = 0.0
        for _ in range(20):
            chosen_NL, _, _ = sample_slates(
                scores_NC[after], self.allowed_NC[after], policy, 3, rng
            )
            clicked_NL = np.take_along_axis(self.chance_NC[after], np.maximum(chosen_NL, 0), 1)
            total += (clicked_NL * (chosen_NL >= 0) * POSITION_EFFECT).sum(axis=1).mean()
        return total / 20

    @property
    def after(self) -> slice:
        """Requests after the cut."""
        return slice(int(0.7 * len(self.chance_NC)), None)

    def change(self, table: str, column: str, values: object) -> None:
        """Overwrite one column."""
        old = self.tables[table]
        at = old.schema.get_field_index(column)
        self.tables[table] = old.set_column(
            at, old.schema.field(at), pa.array(values, old.schema.field(at).type)
        )

    def publish(self, scores: object, policy: ServingPolicy | None) -> None:
        """Let a model with these scores be the champion, published with this policy."""
        self.change("scores", "champion_scores", scores)
        if policy is not None:
            write_policy(policy, self.folder)

    def judge(self, **params: object) -> dict:
        """Run the stage and return the verdict."""
        out = self.folder / "verdict.json"
        save_split(self.split, self.folder / "split.json")
        (self.folder / "ranking.json").write_text(json.dumps(self.ranking))
        (self.folder / "sid_health.json").write_text(json.dumps(self.health))
        write_unknown(self.unknown, {}, self.folder / "suitability.json")
        (self.folder / "model").mkdir(exist_ok=True)
        (self.folder / "model" / "config.json").write_text(
            json.dumps({"weight": self.weight, "uplift_weight": self.uplift_weight})
        )
        cost = self.folder / "model" / "cost.json"
        cost.unlink(missing_ok=True)
        if self.mflops is not None:
            cost.write_text(json.dumps({"mflops_per_request": self.mflops, "candidates": 200}))
        look = {"k": len(self.judged) + 1, **({"alpha": self.alpha} if self.alpha else {})}
        told = {"candidate": "this one", "look": look, **self.told}
        (self.folder / "standing.json").write_text(json.dumps(told))
        run(
            **{name: ibis.memtable(table) for name, table in self.tables.items()},
            split=self.folder / "split.json",
            suitability=self.folder / "suitability.json",
            ranking=self.folder / "ranking.json",
            sid_health=self.folder / "sid_health.json",
            model=self.folder / "model",
            champion=self.folder,
            standing=self.folder / "standing.json",
            verdict=out,
            params=OpeParams(**{**SMALL, **params}),
        )
        return json.loads(out.read_text())

    def page(self) -> str:
        """Draw the page of the last verdict and return it."""
        page = self.folder / "verdict.html"
        draw(verdict=self.folder / "verdict.json", verdict_page=page)
        return page.read_text()


def _strings(prefix: str, index: np.ndarray) -> pa.Array:
    return pa.array([f"{prefix}{i:06d}" for i in index.ravel()])


def _lists(flat: pa.Array, width: int, rows: int) -> pa.Array:
    return pa.ListArray.from_arrays(np.arange(rows + 1, dtype=np.int32) * width, flat)


def make_world(
    folder: Path,
    rng: np.random.Generator,
    requests: int = 6000,
    skill: float = 1.0,
    *,
    users: int = 300,
    logger: Callable[[np.ndarray], Step] = lambda scores_NC: scored_step(scores_NC, LOGGER),
) -> World:
    """Log a slate of 3 of 10 for each request; scores are `skill` times the truth plus noise."""
    items, candidates, length = 40, 10, 3
    user_N = rng.integers(0, users, requests)
    risk_U, risk_I = rng.integers(2, 5, users), rng.integers(1, 4, items)
    risk_I[: items // 2] = 1
    candidate_NC = np.argsort(rng.random((requests, items)), axis=1)[:, :candidates]
    taste_NC = rng.normal(size=(users, items))[user_N[:, None], candidate_NC]
    chance_NC = np.clip(0.1 * np.exp(0.8 * taste_NC - 0.3), 0, 0.9)
    allowed_NC = risk_I[candidate_NC] <= risk_U[user_N][:, None]
    logged_NC = rng.normal(size=items)[candidate_NC] * 0.5
    chosen_NL, propensity_NL, served_NLC = draw_slates(logger(logged_NC), allowed_NC, length, rng)
    p_NL = np.take_along_axis(chance_NC, np.maximum(chosen_NL, 0), 1) * POSITION_EFFECT
    filled_NL = chosen_NL >= 0
    click_NL = (rng.random(p_NL.shape) < p_NL) & filled_NL
    dismiss_NL = (rng.random(p_NL.shape) < 0.02) & filled_NL & ~click_NL
    ts_N = np.array([START + timedelta(minutes=i) for i in range(requests)])
    scores_NC = skill * np.log(chance_NC) + 0.1 * rng.normal(size=chance_NC.shape)

    log = Served(user_N, candidate_NC, chosen_NL, propensity_NL, served_NLC, ts_N)
    item_id = _strings("i", np.arange(items))
    tables = {
        "exposures": _exposures(log, item_id),
        "outcomes": _outcomes(log, item_id, {"click": click_NL, "dismiss": dismiss_NL}),
        "items": _items(item_id, risk_I),
        "users": _users(risk_U),
        "prices": arrow.schema(PRICES).empty_table(),
        "codes": _codes(item_id),
    }
    split = Split(ts_N[0], ts_N[int(0.7 * requests)] - timedelta(seconds=1), ts_N[-1])
    world = World(tables, split, scores_NC, chance_NC, allowed_NC, folder)
    tables["scores"] = score_table(log, item_id, world.after, scores_NC, chance_NC)
    return world


@dataclass
class Served:
    """What the logging policy did."""

    user_N: np.ndarray
    candidate_NC: np.ndarray
    chosen_NL: np.ndarray
    propensity_NL: np.ndarray
    served_NLC: np.ndarray
    ts_N: np.ndarray

    def shown_NL(self) -> np.ndarray:
        return np.take_along_axis(self.candidate_NC, np.maximum(self.chosen_NL, 0), 1)


def _exposures(log: Served, item_id: pa.Array) -> pa.Table:
    filled_NL = log.chosen_NL >= 0
    row, position = np.nonzero(filled_NL)
    rows, candidates = len(row), log.candidate_NC.shape[1]
    columns = {
        "request_id": _strings("r", row),
        "position": position + 1,
        "user_id": _strings("u", log.user_N[row]),
        "item_id": item_id.take(pa.array(log.shown_NL()[filled_NL])),
        "event_ts": pa.array(log.ts_N[row], pa.timestamp("us", "UTC")),
        "policy_id": ["v0"] * rows,
        "propensity": log.propensity_NL[filled_NL],
        "candidate_ids": _lists(
            item_id.take(pa.array(log.candidate_NC[row].ravel())), candidates, rows
        ),
        "candidate_propensities": _lists(
            pa.array(log.served_NLC[filled_NL].ravel()), candidates, rows
        ),
        "context_version": ["1"] * rows,
    }
    return pa.table(columns).cast(arrow.schema(EXPOSURES))


def _outcomes(log: Served, item_id: pa.Array, marks: dict[str, np.ndarray]) -> pa.Table:
    parts = []
    for action, mark_NL in marks.items():
        row = np.nonzero(mark_NL)[0]
        columns = {
            "request_id": _strings("r", row),
            "item_id": item_id.take(pa.array(log.shown_NL()[mark_NL])),
            "action": [action] * len(row),
            "value": np.zeros(len(row)),
            "event_ts": pa.array(log.ts_N[row] + timedelta(seconds=30), pa.timestamp("us", "UTC")),
        }
        parts.append(pa.table(columns).cast(arrow.schema(OUTCOMES)))
    return pa.concat_tables(parts)


def score_table(
    log: Served, item_id: pa.Array, after: slice, scores_NC: np.ndarray, chance_NC: np.ndarray
) -> pa.Table:
    row = np.arange(len(log.user_N))[after]
    candidates = log.candidate_NC.shape[1]
    columns = {
        "request_id": _strings("r", row),
        "candidate_ids": _lists(
            item_id.take(pa.array(log.candidate_NC[row].ravel())), candidates, len(row)
        ),
        "candidate_scores": _lists(pa.array(scores_NC[row].ravel()), candidates, len(row)),
        "candidate_chances": _lists(pa.array(chance_NC[row].ravel()), candidates, len(row)),
        "champion_scores": pa.nulls(len(row), pa.list_(pa.float64())),
    }
    return pa.table(columns).cast(arrow.schema(SCORES))


def _items(item_id: pa.Array, risk_I: np.ndarray) -> pa.Table:
    columns = {field.name: pa.nulls(len(item_id), field.type) for field in arrow.schema(ITEMS)}
    columns |= {"item_id": item_id, "name": item_id, "risk_class": pa.array(risk_I)}
    columns["category"] = pa.array(["fund", "bond"] * (len(item_id) // 2))
    return pa.table(columns).select([field.name for field in arrow.schema(ITEMS)])


def _codes(item_id: pa.Array) -> pa.Table:
    """Four items to each first codeword."""
    code = [[i // 4, i % 4, 0] for i in range(len(item_id))]
    sid = ["-".join(map(str, one)) for one in code]
    return pa.table({"item_id": item_id, "code": code, "sid": sid}).cast(arrow.schema(CODES))


def _users(risk_U: np.ndarray) -> pa.Table:
    users = len(risk_U)
    columns = {field.name: pa.nulls(users, field.type) for field in arrow.schema(USERS)}
    columns |= {
        "user_id": _strings("u", np.arange(users)),
        "valid_from": pa.array([START] * users, pa.timestamp("us", "UTC")),
        "risk_class": pa.array(risk_U),
    }
    return pa.table(columns)


@pytest.fixture
def world(tmp_path: Path) -> Callable[..., World]:
    """Make a world: `world(requests=..., skill=...)`."""

    def make(requests: int = 6000, skill: float = 1.0, seed: int = 11, **more: Any) -> World:
        return make_world(tmp_path, np.random.default_rng(seed), requests, skill, **more)

    return make


@pytest.fixture
def failed() -> Callable[[dict], list[str]]:
    """Name the pre-checks that a verdict's log failed."""
    return lambda verdict: [row["name"] for row in verdict["prechecks"] if not row["ok"]]
