"""Days of a service that nobody ran: slates, events and closes as they stand in the log.

What is drawn is a world in which nothing changes from day to day but who comes, and faults that can
be put into it from a day on.  Slates are drawn by the code of the service's policy, so that every
propensity is right unless the fault is that it is not.

Shapes: U investors, I items, K categories, N slates, C candidates, L positions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tessera.bundles import manifest
from tessera.contracts.arrays import Float64s, Ints
from tessera.contracts.arrow import DAY_US
from tessera.platform.watching.columns import Around, frames, with_outcomes
from tessera.platform.watching.facts import Facts, read_facts
from tessera.platform.watching.gathered import Gathered
from tessera.serve.closes import CLOSE
from tessera.serve.events import COMPLAIN, EVENT, SLATE, Record
from tessera.shared.policies.serving import ServingPolicy, write_policy
from tessera.shared.policies.slate import SlatePolicy, sample_slates
from tessera.stages.daily.day import Summary, summarize
from tessera.stages.daily.outcomes import answered
from tessera.stages.daily.spec import Served

CATEGORIES = ("bond", "card", "fund", "loan", "stock")
SEGMENTS = ("institutional", "private", "retail")
POLICY = SlatePolicy(0.5, 0.2, 10)
RETRIEVED, UNIFORM, LENGTH = 20, 5, 3
IDENTITY = "c4c522ccc2e6" + "0" * 52
FAULTS = (
    "covariate", "preference", "price", "broken", "stuck", "misjoined", "feedback", "bot",
)  # fmt: skip
PUBLICATIONS = ("sharper", "other model", "worse model")
"""Another version answers: with less chance, with other beliefs of pairs, or knowing no taste."""
SHARPER = SlatePolicy(0.15, 0.2, 10)
_ISSUERS = 12
_CLICK, _BUY, _DISMISS = -2.2, 0.25, 0.04
"""Logit of a click at no taste; share of the clicks that end in a purchase; dismissals."""
_COMPLAIN = 0.005
"""Complaints, of positions."""
_DECAY = (1.0, 0.7, 0.5)
"""Of a click, by position."""
_ORGANIC = 0.4
"""Purchases beside the slates, for each slate."""
_FIRST_DAY = 20_000
_BOT_BUYS = 100
"""Purchases of the bot in a day."""


@dataclass(frozen=True, slots=True)
class World:
    """Who is there and what there is."""

    segment_U: Ints
    risk_U: Ints
    taste_UK: Float64s
    activity_U: Float64s
    category_I: Ints
    issuer_I: Ints
    risk_I: Ints
    fame_I: Float64s
    """How well an item is known: mean 0, standard deviation 1."""
    pair_UI: Float64s
    """What else the model believes of an investor and an item."""

    @classmethod
    def of(cls, seed: int, users: int = 3000, items: int = 300) -> World:
        """Draw one."""
        rng = np.random.default_rng((seed, 1))
        segment_U = rng.choice(3, users, p=(0.1, 0.3, 0.6))
        lean_SK = rng.normal(0, 0.8, (3, len(CATEGORIES)))
        taste_UK = lean_SK[segment_U] + rng.normal(0, 0.8, (users, len(CATEGORIES)))
        fame_I = rng.normal(0, 1, items)
        return cls(
            segment_U,
            rng.integers(1, 5, users),
            taste_UK,
            rng.gamma(1.5, 1.0, users),
            rng.integers(0, len(CATEGORIES), items),
            rng.integers(0, _ISSUERS, items),
            rng.choice(4, items, p=(0.4, 0.3, 0.2, 0.1)) + 1,
            (fame_I - fame_I.mean()) / fame_I.std(),
            rng.normal(0, 0.4, (users, items)),
        )

    @property
    def holders_I(self) -> Ints:
        """How many hold an item."""
        share_I = 0.15 * np.exp(0.8 * self.fame_I) / np.exp(0.8 * self.fame_I).max()
        return np.asarray(share_I * len(self.segment_U), np.int64)

    def write_bundle(self, path: Path, policy: SlatePolicy = POLICY) -> None:
        """Write what a bundle says of items and investors, and by which policy it draws."""
        path.mkdir(parents=True)
        rng = np.random.default_rng(0)
        items, users = len(self.fame_I), len(self.segment_U)
        held_U = [
            [item_name(one) for one in np.flatnonzero(rng.random(items) < 0.03).tolist()]
            for _ in range(users)
        ]
        pq.write_table(pa.table({
            "item_id": [item_name(one) for one in range(items)],
            "name": [item_name(one) for one in range(items)],
            "category": [CATEGORIES[one] for one in self.category_I],
            "issuer": [f"issuer {one}" for one in self.issuer_I],
            "risk_class": self.risk_I, "alive": [True] * items, "popularity": self.holders_I,
        }), path / "items.parquet")  # fmt: skip
        pq.write_table(pa.table({
            "user_id": [user_name(one) for one in range(users)], "risk_class": self.risk_U,
            "held": pa.array(held_U, pa.list_(pa.string())),
        }), path / "users.parquet")  # fmt: skip
        write_policy(ServingPolicy(policy, LENGTH), path)
        manifest.seal(path, {"version": path.name})
        told = json.loads((path / manifest.MANIFEST).read_text())
        (path / manifest.MANIFEST).write_text(json.dumps(told | {"identity": IDENTITY}))

    def write_users(self, path: Path, alone: dict[str, str] | None = None) -> None:
        """Write the segment of each investor where the source's table of investors lies.

        `alone` names some who are in another one.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        users, never = len(self.segment_U), pa.array([0] * len(self.segment_U))
        pq.write_table(pa.table({
            "user_id": [user_name(one) for one in range(users)],
            "valid_from": never.cast(pa.timestamp("us", tz="UTC")),
            "segment": [
                (alone or {}).get(user_name(user), SEGMENTS[one])
                for user, one in enumerate(self.segment_U)
            ],
        }), path)  # fmt: skip


def item_name(number: int) -> str:
    """Return the id of an item."""
    return f"i{number:05d}"


def user_name(number: int) -> str:
    """Return the id of an investor."""
    return f"u{number:06d}"


def happened(
    world: World, seed: int, day: int, slates: int = 1500, fault: str | None = None
) -> Iterator[Record]:
    """Draw a day: slates, what came of them, purchases beside them, and closes.

    Parameters
    ----------
    world : World
        Who is there.
    seed, day : int
        Another pair is another day; the day counts from 1970.
    slates : int
        How many are shown.
    fault : str, optional
        One of `FAULTS` at its full size, or one of `PUBLICATIONS`.
    """
    rng = np.random.default_rng((seed, 2, day))
    policy = SHARPER if fault == "sharper" else POLICY
    version = "v2" if fault in PUBLICATIONS else "v1"
    activity_U = world.activity_U * np.where(
        (world.segment_U == 1) & (fault == "covariate"), 3.0, 1.0
    )
    user_N = rng.choice(len(activity_U), slates, p=activity_U / activity_U.sum())
    at_us_N = day * DAY_US + np.sort(rng.integers(0, DAY_US - 3_600_000_000, slates))
    item_NC = _candidates(world, user_N, rng)
    score_NC = _scores(world, user_N, item_NC, rng, fault)
    chosen_NL, propensity_NL, chance_NLC = sample_slates(
        score_NC, np.ones(score_NC.shape, np.bool_), policy, LENGTH, rng
    )
    if fault == "misjoined":  # each slate has the probabilities of the one before
        propensity_NL, chance_NLC = np.roll(propensity_NL, 1, 0), np.roll(chance_NLC, 1, 0)
    sources = ["dense"] * RETRIEVED + ["uniform"] * UNIFORM
    for row in range(slates):
        yield {
            "kind": SLATE, "request_id": f"r{day}-{row:07d}", "user_id": user_name(user_N[row]),
            "moment": int(at_us_N[row]), "policy_id": version,
            "channel": _channel(int(user_N[row])),
            "context_version": f"{IDENTITY[:12]}+0", "flags": [] if user_N[row] % 10 else ["cold"],
            "took_ms": {"score": 2.0},
            "candidate_ids": [item_name(one) for one in item_NC[row].tolist()],
            "sources": sources, "scores": score_NC[row].tolist(),
            "chosen": chosen_NL[row].tolist(), "propensities": propensity_NL[row].tolist(),
            "probabilities": chance_NLC[row].tolist(),
        }  # fmt: skip
    shown_NL = np.take_along_axis(item_NC, chosen_NL, axis=1)
    yield from _answers(world, day, (user_N, at_us_N, shown_NL), rng, fault)
    yield from _complaints(day, (user_N, at_us_N, shown_NL), np.random.default_rng((seed, 4, day)))
    yield from _closes(world, day, rng, fault)


def _candidates(world: World, user_N: Ints, rng: np.random.Generator) -> Ints:
    """Retrieve by taste and fame, and draw the rest evenly; nobody is shown what is too risky."""
    wish_NI = world.taste_UK[user_N][:, world.category_I] + 0.5 * world.fame_I
    wish_NI = wish_NI + rng.gumbel(0, 1, wish_NI.shape)
    wish_NI[world.risk_I[None] > world.risk_U[user_N][:, None]] = -np.inf
    found_NC = np.argpartition(-wish_NI, RETRIEVED, axis=1)[:, :RETRIEVED]
    rest_NI = np.where(np.isfinite(wish_NI), rng.random(wish_NI.shape), -1.0)
    np.put_along_axis(rest_NI, found_NC, -1.0, axis=1)
    even_NC = np.argpartition(-rest_NI, UNIFORM, axis=1)[:, :UNIFORM]
    return np.concatenate([found_NC, even_NC], axis=1)


def _scores(
    world: World, user_N: Ints, item_NC: Ints, rng: np.random.Generator, fault: str | None
) -> Float64s:
    """Return what the model believes; a broken feature is noise, a stuck one says one value.

    A worse model that was published has the broken feature, and nobody could call it broken.
    """
    taste_NC = np.take_along_axis(world.taste_UK[user_N], world.category_I[item_NC], axis=1)
    if fault in ("broken", "worse model"):
        taste_NC = rng.permutation(taste_NC.ravel()).reshape(taste_NC.shape)
    if fault == "stuck":
        taste_NC = np.full_like(taste_NC, float(taste_NC.mean()))
    fame = 1.3 if fault == "feedback" else 0.5
    pair_NC = world.pair_UI[user_N[:, None], item_NC]
    if fault == "other model":
        pair_NC = world.pair_UI[::-1][user_N[:, None], item_NC]
    return np.asarray(-2.0 + taste_NC + fame * world.fame_I[item_NC] + pair_NC)


def _answers(
    world: World, day: int, shown: tuple[Ints, Ints, Ints], rng: np.random.Generator,
    fault: str | None,
) -> Iterator[Record]:  # fmt: skip
    user_N, at_us_N, shown_NL = shown
    taste_UK = world.taste_UK
    if fault == "preference":  # whoever liked one category likes the next one now
        moved_U = np.random.default_rng(0).random(len(taste_UK)) < 0.6
        taste_UK = np.where(moved_U[:, None], np.roll(taste_UK, 1, axis=1), taste_UK)
    liking_NL = np.take_along_axis(taste_UK[user_N], world.category_I[shown_NL], axis=1)
    chance_NL = np.array(_DECAY) / (1 + np.exp(-(_CLICK + liking_NL)))
    clicked_NL = rng.random(chance_NL.shape) < chance_NL
    bought_NL = clicked_NL & (rng.random(chance_NL.shape) < _BUY)
    away_NL = ~clicked_NL & (rng.random(chance_NL.shape) < _DISMISS)
    number = 0
    for action, done_NL in (("click", clicked_NL), ("buy", bought_NL), ("dismiss", away_NL)):
        for row, place in np.argwhere(done_NL).tolist():
            late = int(rng.integers(1_000_000, 3_000_000_000))
            yield _event(
                f"e{day}-{number:07d}", (int(user_N[row]), int(shown_NL[row, place])), action,
                int(at_us_N[row]) + late, f"r{day}-{row:07d}", rng,
            )  # fmt: skip
            number += 1
    count = int(_ORGANIC * len(user_N))
    buyer_M = rng.choice(len(user_N), count)
    for row in buyer_M.tolist():
        wish_I = taste_UK[user_N[row]][world.category_I] + 0.8 * world.fame_I
        item = int(np.argmax(wish_I + rng.gumbel(0, 1, len(wish_I))))
        at_us = int(at_us_N[row]) + int(rng.integers(0, 3_000_000_000))
        yield _event(f"o{day}-{number:07d}", (int(user_N[row]), item), "buy", at_us, None, rng)
        number += 1
    for _ in range(_BOT_BUYS if fault == "bot" else 0):
        at_us = day * DAY_US + int(rng.integers(0, DAY_US))
        yield _event(f"b{day}-{number:07d}", (0, 7), "buy", at_us, None, rng)
        number += 1


def _complaints(
    day: int, shown: tuple[Ints, Ints, Ints], rng: np.random.Generator
) -> Iterator[Record]:
    """Complain of positions by chance, from a stream of numbers that nothing else draws from."""
    user_N, at_us_N, shown_NL = shown
    done_NL = rng.random(shown_NL.shape) < _COMPLAIN
    for number, (row, place) in enumerate(np.argwhere(done_NL).tolist()):
        late = int(rng.integers(1_000_000, 3_000_000_000))
        who = int(user_N[row]), int(shown_NL[row, place])
        request = f"r{day}-{row:07d}"
        yield _event(f"c{day}-{number:07d}", who, COMPLAIN, int(at_us_N[row]) + late, request, rng)


def _channel(user: int) -> str:
    return "app" if user % 3 else "web"


def _event(
    name: str, who: tuple[int, int], action: str, moment: int, request: str | None,
    rng: np.random.Generator,
) -> Record:  # fmt: skip
    user, item = who
    value = float(10 ** rng.normal(3, 0.4)) if action == "buy" else 0.0
    return {
        "kind": EVENT, "event_id": name, "user_id": user_name(user), "item_id": item_name(item),
        "action": action, "moment": moment, "request_id": request, "value": value,
        "channel": _channel(user),
    }  # fmt: skip


def _closes(
    world: World, day: int, rng: np.random.Generator, fault: str | None
) -> Iterator[Record]:
    """Tell the closes of a day: a common move and each item's own, from a fixed price."""
    wild = 3.0 if fault == "price" else 1.0
    common = rng.normal(0, 0.006 * wild)
    for item in range(len(world.fame_I)):
        price = 100.0 * float(np.exp(common + rng.normal(0, 0.012 * wild)))
        yield {
            "kind": CLOSE, "item_id": item_name(item), "moment": day * DAY_US + 1,
            "close_eur": price, "told": day * DAY_US + 2,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Days:
    """Days of a world as they are measured, without a log between."""

    world: World
    seed: int
    facts: Facts
    sharper: Facts
    spec: Served
    slates: int = 1500

    @classmethod
    def of(cls, seed: int, folder: Path, spec: Served) -> Days:
        """Draw a world; its bundles lie in the folder."""
        world = World.of(seed)

        def facts(name: str, policy: SlatePolicy) -> Facts:
            path = folder / f"{name}-{seed}"
            world.write_bundle(path, policy)
            return read_facts(path, spec.tail_head_share)

        return cls(world, seed, facts("bundle", POLICY), facts("sharper", SHARPER), spec)

    def summary(self, number: int, fault: str | None = None) -> Summary:
        """Draw a day and measure it by itself."""
        day = _FIRST_DAY + number
        facts = self.sharper if fault == "sharper" else self.facts
        gathered = Gathered(lambda _: facts)
        found = list(happened(self.world, self.seed, day, self.slates, fault))
        closes = [one for one in found if one["kind"] == CLOSE]
        closes += _closes(self.world, day - 1, np.random.default_rng((self.seed, 3, day)), None)
        for one in found:
            if one["kind"] != CLOSE:
                gathered.take(one)
        named = [one for one in gathered.events if one["request_id"]]
        around = Around(closes, self._segments)
        rows = frames(day, gathered, around)
        rows = with_outcomes(rows, named, self.spec.outcome_days * DAY_US)
        return replace(summarize(rows, self.spec), answered=answered(rows))

    def _segments(self, user_ids: list[str]) -> dict[str, str]:
        return {user: SEGMENTS[self.world.segment_U[int(user[1:])]] for user in user_ids}
