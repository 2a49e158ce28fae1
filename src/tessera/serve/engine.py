"""From a request to a slate: hydrate, retrieve, score, choose, draw, explain.

The slate is drawn by the policy that was judged, from candidates that suit the investor as of now,
so that what is logged of it is what another policy can be judged by.

Shapes: I items of the bundle in the order of its table, C candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from tessera.bundles.manifest import read_manifest
from tessera.bundles.vectors import Search
from tessera.contracts.arrays import Float32s, Ints
from tessera.contracts.arrow import DAY_US
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.lookup import rows_of
from tessera.contracts.tables import ACTIONS
from tessera.model.trunk.one_pass import Scored
from tessera.serve.candidates import DRAWN, Candidates, Costs
from tessera.serve.context import DEGRADED, Context, Deadline
from tessera.serve.context_version import ContextVersion
from tessera.serve.erased import Erased
from tessera.serve.figures import prices
from tessera.serve.investors import Investor, Published, stranger
from tessera.serve.memory import give_back_memory
from tessera.serve.online.scorer import Now, Scorer
from tessera.serve.online.shown import Exposures
from tessera.serve.online.standing import lasting, standing
from tessera.serve.params import ServeParams
from tessera.serve.people import ForPeople
from tessera.serve.recommend import Recommender
from tessera.serve.retrievers.dense import Dense
from tessera.serve.rules.choosing import Listed, Rule, choose
from tessera.serve.rules.opening import open_rules
from tessera.serve.slate import Drawn, Figure, Slate, at, best, greedy
from tessera.shared.features.facts import NOBODY
from tessera.shared.policies.serving import read_policy
from tessera.shared.policies.slate import SlatePolicy, sample_slate

_POSITIONS = 10
"""Of a slate where no log showed how many are usual."""
_PART = 4096
"""Vectors that are looked at together."""
_RECENT = 50
"""Events that count as what an investor did lately."""
_AGAINST = [ACTIONS.index(action) for action in ("dismiss", "sell")]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Engine:
    """One published bundle, and what came after its cut."""

    version: str
    identity: str
    recommender: Recommender
    scorer: Scorer
    slate: SlatePolicy
    slate_size: int
    candidates: Candidates
    model_row_I: Ints
    """Row of each item in the model; 0 is no item."""
    search: Search
    """Vectors of the items."""
    params: ServeParams
    rules: tuple[Rule, ...]
    """What chooses the candidates that a slate is drawn from."""
    exposures: Exposures
    """What was shown; it outlives the bundle."""
    draws: bool = True
    """Else the best are shown: nothing of it will be logged, or exploration is stopped."""

    @classmethod
    def open(cls, bundle: Path, params: ServeParams, version: str | None = None) -> Self:
        """Read a bundle whose manifest was checked; it is called by its folder, or as said.

        Raises
        ------
        BrokenBundle
            If a file is damaged, or it carries no model.
        """
        recommender = Recommender.open(bundle)
        ranker = recommender.ranker
        if ranker is None:
            raise BrokenBundle(
                f"{bundle.name} carries no ranking head and cannot be served: run the pipeline and "
                "publish a model that has one"
            )
        policy = read_policy(bundle)
        row_I = rows_of(recommender.shelf.id_I, ranker.item_ids) + 1
        unit_I = ranker.unit_eur(recommender.shelf.id_I)
        return cls(
            version or bundle.name,
            str(read_manifest(bundle)["identity"]),
            recommender,
            Scorer.fresh(ranker, params.kept_mb, Erased.beside(bundle)),
            policy.slate,
            policy.slate_size or _POSITIONS,
            Candidates.of(bundle, recommender, params, policy.slate, unit_I),
            row_I,
            _search(bundle, recommender),
            params,
            open_rules(recommender.items, params, policy.slate),
            Exposures(params.cap_shown, params.cap_days),
        )

    @property
    def item_row(self) -> dict[str, int]:
        """Row I of each item."""
        return self.recommender.shelf.row

    @property
    def people(self) -> ForPeople:
        """What is said of its items for people to read."""
        return ForPeople(self.recommender, self.search)

    def warm_up(self) -> None:
        """Answer a stranger and an investor, so that nobody waits for what is built at first.

        Raises
        ------
        BrokenBundle
            If a score is not finite.
        """
        for user_id in ("", *self.scorer.ranker.histories.user_id_U[-1:]):
            slate = self.answer("warm-up", user_id, self.scorer.ranker.moment, self.slate_size)
            if DEGRADED in slate.flags:
                raise BrokenBundle(_not_finite(self.version))
        give_back_memory()

    def numbers(self) -> Iterator[tuple[str, Float32s]]:
        """Name and give, a part at a time, whatever slates are computed from."""
        for tensor in self.scorer.ranker.model.state_dict().values():
            if tensor.is_floating_point():
                yield "weights", tensor.float().numpy()
        index = self.search.index
        for first in range(0, index.count, _PART):
            yield "vectors", index.vectors(first, min(_PART, index.count - first))

    def acted(self) -> set[str]:
        """Return the items that somebody acted on until the cut of the bundle."""
        ranker = self.scorer.ranker
        return {ranker.item_ids[row - 1] for row in np.unique(ranker.histories.item_E).tolist()}

    def published(self, user_id: str) -> Published | None:
        """Return what the bundle says of the class of an investor; None if it says nothing.

        Of whoever was erased since its cut it says nothing.
        """
        ranker = self.scorer.ranker
        since = ranker.published(ranker.person.get(user_id, NOBODY))
        if since is None or ranker.moment - 1 <= self.scorer.erased_until(user_id):
            return None
        known = self.recommender.investors.known(user_id)
        return Published(since, known.risk_class, known.capacity_class)

    def who(self, user_id: str, now: Now) -> Investor:
        """Return what is known of an investor as of now."""
        unknown = self.recommender.unknown
        known = (
            stranger(user_id, unknown) if now.is_gone else self.recommender.investors.known(user_id)
        )
        held, dismissed = standing(known.held, known.dismissed, now.since.events, now.moment)
        ids, days = self.scorer.ranker.item_ids, self.params.dismiss_days
        if days is not None:
            dismissed = lasting(dismissed, now.past, ids, now.moment - round(days * DAY_US))
        seen = known.is_known or bool(len(now.past)) or now.classed is not None
        risk, capacity = now.classed or (known.risk_class, None)
        return replace(
            known,
            risk_class=risk,
            capacity_class=known.capacity_class if capacity is None else capacity,
            held=held,
            dismissed=dismissed,
            vector_D=self.scorer.vector(now),
            is_known=seen,
            recent=self._recent(now),
            capped=self.exposures.capped(user_id, now.past, ids, now.moment, now.erased_until),
        )

    def _recent(self, now: Now) -> tuple[str, ...]:
        """Return what was met lately, but for what was sold or dismissed."""
        item_N = now.past.item_N[~np.isin(now.past.action_N, _AGAINST)][-_RECENT:]
        return tuple(self.scorer.ranker.item_ids[row - 1] for row in item_N.tolist())

    def answer(
        self, request_id: str, user_id: str, moment: int, k: int, deadline: Deadline | None = None
    ) -> Slate:
        """Draw a slate.

        Parameters
        ----------
        request_id : str
            The same request, state and bundle give the same slate.
        user_id : str
            Investor; an unknown one counts as new, and of the class of the unknown.
        moment : int
            Microseconds since 1970; nothing from then on is read.
        k : int
            Positions.
        deadline : Deadline, optional
            Parts are left out as it comes near, and the answer says `degraded`.  Where the ranking
            head is left out, or its scores are no numbers, the best found are shown under a policy
            that the gate leaves out.
        """
        asked = Context.of(request_id, user_id, moment, k, deadline)
        with asked.step("hydrate"):
            now = self.scorer.now(user_id, moment)
            who = self.who(user_id, now)
            asked.flags.extend(() if who.is_known else ("cold",))
        with asked.step("retrieve"):
            row_C, sources = self.candidates.of_request(asked, who, self._costs(now))
        with asked.step("score"):
            scored, is_scored = self._scored(asked, now, row_C)
        with asked.step("choose"):
            row_C, sources, scored = self._chosen(asked, row_C, sources, scored)
        with asked.step("draw"):
            drawn = self._draw(asked, row_C, sources, scored.score_M)
            is_drawn = self.draws and is_scored
            drawn = drawn if is_drawn else best(drawn, k)
            told_LT = None if scored.logit_MT is None else scored.logit_MT[drawn.shown()]
        with asked.step("explain"):
            found_by = {drawn.candidate_ids[one]: drawn.source_C[one] for one in drawn.shown()}
            reasons, figures = self._explained(asked, who, now, found_by)
        return Slate(
            request_id,
            user_id,
            moment,
            self.version if is_drawn else greedy(self.version),
            self._context(now),
            drawn,
            reasons,
            tuple(asked.flags),
            asked.removed,
            figures,
            asked.took_s,
            chances=self.scorer.chances(told_LT),
        )

    def undrawn(self) -> Engine:
        """Return an engine that shows the best, marked so that nobody judges by them."""
        return replace(self, draws=False)

    def for_stranger(self, done: Iterable[tuple[str, str, int]]) -> Engine:
        """Return an engine that shows the best to a stranger who did this: item, action, moment."""
        return replace(self, scorer=self.scorer.for_stranger(done), draws=False)

    def scores_of(self, user_id: str, moment: int, item_ids: Sequence[str]) -> tuple[Float32s, str]:
        """Return the scores of some items, in their order, and what they were computed from.

        Items that are not listed have the least.
        """
        now = self.scorer.now(user_id, moment)
        row_C = np.array([self.scorer.ranker.row.get(item, 0) for item in item_ids], np.int64)
        return self._said(now, row_C).score_M, self._context(now)

    def _context(self, now: Now) -> str:
        since = now.since
        closes = since.priced.until if since.priced else 0
        return str(ContextVersion.of(self.identity, since.version, closes, since.classed_until))

    def _costs(self, now: Now) -> Costs | None:
        priced = now.since.priced
        if priced is None or not priced.until:
            return None
        unit_I = priced.unit_I(self.model_row_I, now.moment)
        return Costs((priced.until, now.moment // DAY_US), unit_I)

    def freshness(self) -> tuple[int, int | None]:
        """Return the cut, and the day of the newest close; both in microseconds since 1970."""
        known = self.scorer.state.prices
        day = known.now().newest if known else None
        return self.scorer.ranker.moment - 1, None if day is None else day * DAY_US

    def told(self) -> str:
        """Say in one line by which policy slates are drawn."""
        slate = self.slate
        return (
            f"softmax temperature {slate.temperature:g}, epsilon {slate.epsilon:g} over the top "
            f"{slate.top_k} of {self.params.retrieved} retrieved and {self.params.uniform} uniform "
            f"suitable candidates, {self.candidates.new} of them new on sale"
        )

    def showed(self, slate: Slate) -> None:
        """Know that a slate was shown, once it is logged."""
        shown = (slate.drawn.candidate_ids[one] for one in slate.drawn.shown())
        self.exposures.add(slate.user_id, shown, slate.moment)

    def _explained(
        self, asked: Context, who: Investor, now: Now, found_by: dict[str, str]
    ) -> tuple[dict[str, str], dict[str, tuple[Figure, ...]]]:
        shown = list(found_by)
        if asked.skips("explain"):
            return dict.fromkeys(shown, f"suitable for {who.level} investors"), {}
        row_Q = self.model_row_I[self.recommender.shelf.rows(shown)]
        closes = prices(now.facts.closes, row_Q, asked.moment)
        return self.people.explained(who, found_by, closes, at(self.scorer.ranker.moment - 1))

    def _chosen(
        self, asked: Context, row_C: Ints, sources: list[str], scored: Scored
    ) -> tuple[Ints, list[str], Scored]:
        """Choose the candidates that the slate is drawn from."""
        explores_C = self.candidates.is_new_N(row_C, asked.moment)
        explores_C |= np.array([source in DRAWN for source in sources], np.bool_)
        listed = Listed(row_C, scored.score_M.astype(np.float64), explores_C)
        kept_C, removed, is_filled = choose(self.rules, listed, asked.k)
        asked.took_away(removed, is_filled=is_filled)
        return row_C[kept_C], [sources[one] for one in np.flatnonzero(kept_C)], scored.of(kept_C)

    def _said(self, now: Now, model_row_C: Ints) -> Scored:
        if not len(model_row_C):
            return Scored(np.zeros(0, np.float32))
        scored = self.scorer.scored(now, model_row_C)
        if not np.isfinite(scored.score_M).all():  # nothing may be drawn by what is no number
            raise BrokenBundle(_not_finite(self.version))
        return scored

    def _scored(self, asked: Context, now: Now, row_C: Ints) -> tuple[Scored, bool]:
        """Return what is said of candidates, and whether the ranking head said it."""
        if asked.skips("score"):
            return _in_order(row_C), False
        try:
            return self._said(now, self.model_row_I[row_C]), True
        except BrokenBundle:  # nobody else is to go without an answer for it
            asked.degrade()
            return _in_order(row_C), False

    def _draw(self, asked: Context, row_C: Ints, sources: list[str], score_C: Float32s) -> Drawn:
        ids = tuple(self.recommender.shelf.ids[row] for row in row_C.tolist())
        drawn = sample_slate(score_C.astype(np.float64), self.slate, asked.k, asked.rng)
        return Drawn(ids, tuple(sources), score_C, *drawn)


def _search(bundle: Path, recommender: Recommender) -> Search:
    """Return the vectors, which are opened once."""
    dense = recommender.retrievers.get("dense")
    return dense.search if isinstance(dense, Dense) else Search.open(bundle)


def _not_finite(version: str) -> str:
    return f"{version}: its scores are not finite: train it again"


def _in_order(row_C: Ints) -> Scored:
    """Return scores that keep the order in which items were found."""
    return Scored(-np.arange(len(row_C), dtype=np.float32))
