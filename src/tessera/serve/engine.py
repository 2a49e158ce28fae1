"""From a request to a slate: hydrate, retrieve, score, draw, explain.

The slate is drawn by the policy that was judged, from candidates that suit the investor as of now,
so that what is logged of it is what another policy can be judged by.

Shapes: I items of the bundle in the order of its table, C candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from tessera.bundles.manifest import read_manifest
from tessera.bundles.vectors import Search
from tessera.contracts.arrays import Float32s, Ints
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.tables import ACTIONS
from tessera.serve.candidates import Candidates
from tessera.serve.context import Context, Deadline
from tessera.serve.investors import Investor, investor
from tessera.serve.online.scorer import Now, Scorer
from tessera.serve.online.standing import standing
from tessera.serve.params import ServeParams
from tessera.serve.recommend import Recommender
from tessera.serve.slate import Drawn, Slate, best, greedy
from tessera.shared.policies.serving import read_policy
from tessera.shared.policies.slate import SlatePolicy, sample_slates

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
        return cls(
            version or bundle.name,
            str(read_manifest(bundle)["identity"]),
            recommender,
            Scorer.fresh(ranker, params.kept_mb),
            policy.slate,
            policy.slate_size or _POSITIONS,
            Candidates.of(bundle, recommender, params, policy.slate),
            np.array([ranker.row.get(item, 0) for item in recommender.shelf.ids], np.int64),
            Search.open(bundle),
            params,
        )

    @property
    def item_row(self) -> dict[str, int]:
        """Row I of each item."""
        return self.recommender.shelf.row

    def warm_up(self) -> None:
        """Answer a stranger and an investor, so that nobody waits for what is built at first.

        Raises
        ------
        BrokenBundle
            If a score is not finite.
        """
        for user_id in ("", *self.scorer.ranker.histories.user_id_U[-1:]):
            slate = self.answer("warm-up", user_id, self.scorer.ranker.moment, self.slate_size)
            if not np.isfinite(slate.drawn.score_C).all():
                raise BrokenBundle(f"{self.version}: its scores are not finite: train it again")

    def numbers(self) -> Iterator[tuple[str, Float32s]]:
        """Name and give, a part at a time, whatever slates are computed from."""
        for tensor in self.scorer.ranker.model.state_dict().values():
            if tensor.is_floating_point():
                yield "weights", tensor.float().numpy()
        for first in range(0, self.search.index.ntotal, _PART):
            count = min(_PART, self.search.index.ntotal - first)
            yield "vectors", self.search.index.reconstruct_n(first, count)

    def acted(self) -> set[str]:
        """Return the items that somebody acted on until the cut of the bundle."""
        ranker = self.scorer.ranker
        return {ranker.item_ids[row - 1] for row in np.unique(ranker.histories.item_E).tolist()}

    def who(self, user_id: str, now: Now) -> Investor:
        """Return what is known of an investor as of now."""
        known = investor(self.recommender.users, user_id, self.recommender.unknown)
        held, dismissed = standing(known.held, known.dismissed, now.since.events, now.moment)
        seen = known.is_known or bool(len(now.past))
        return replace(
            known,
            held=held,
            dismissed=dismissed,
            vector_D=self.scorer.vector(now),
            is_known=seen,
            recent=self._recent(now),
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
            head is left out, the best found are shown under a policy that the gate leaves out.
        """
        asked = Context.of(request_id, user_id, moment, k, deadline)
        with asked.step("hydrate"):
            now = self.scorer.now(user_id, moment)
            who = self.who(user_id, now)
            asked.flags.extend(() if who.is_known else ("cold",))
        with asked.step("retrieve"):
            row_C, sources = self.candidates.of_request(asked, who)
        with asked.step("score"):
            unscored = asked.skips("score")
            model_row_C = self.model_row_I[row_C]
            score_C = _in_order(row_C) if unscored else self._scores(now, model_row_C)
        with asked.step("draw"):
            drawn = self._draw(asked, row_C, sources, score_C)
            drawn = best(drawn, k) if unscored else drawn
        with asked.step("explain"):
            shown = [drawn.candidate_ids[one] for one in drawn.shown()]
            reasons = self._reasons(asked, who, shown)
        return Slate(
            request_id,
            user_id,
            moment,
            greedy(self.version) if unscored else self.version,
            self._context(now),
            drawn,
            reasons,
            tuple(asked.flags),
            asked.took_s,
        )

    def scores_of(self, user_id: str, moment: int, item_ids: Sequence[str]) -> tuple[Float32s, str]:
        """Return the scores of some items, in their order, and what they were computed from.

        Items that are not listed have the least.
        """
        now = self.scorer.now(user_id, moment)
        row_C = np.array([self.scorer.ranker.row.get(item, 0) for item in item_ids], np.int64)
        return self._scores(now, row_C), self._context(now)

    def _context(self, now: Now) -> str:
        return f"{self.identity[:12]}+{now.since.version}"

    def facts(self, item_id: str) -> dict[str, str]:
        """Return name and category of an item, for people."""
        row, items = self.item_row[item_id], self.recommender.items
        return {
            "name": items["name"][row].as_py(),
            "category": items["category"][row].as_py() or "",
        }

    def similar(self, item_id: str, k: int) -> list[dict[str, object]] | None:
        """Return the nearest items by their vectors; None if there is no such item.

        One without a vector has none.
        """
        if item_id not in self.item_row:
            return None
        found = self.search.like(item_id, k)
        return [{"item_id": item, "score": score, **self.facts(item)} for item, score in found]

    def told(self) -> str:
        """Say in one line by which policy slates are drawn."""
        slate = self.slate
        return (
            f"softmax temperature {slate.temperature:g}, epsilon {slate.epsilon:g} over the top "
            f"{slate.top_k} of {self.params.retrieved} retrieved and {self.params.uniform} uniform "
            f"suitable candidates, {self.candidates.new} of them new on sale"
        )

    def _reasons(self, asked: Context, who: Investor, shown: list[str]) -> dict[str, str]:
        if asked.skips("explain"):
            return dict.fromkeys(shown, f"suitable for {who.level} investors")
        return self.recommender.reasons(who, shown)

    def _scores(self, now: Now, model_row_C: Ints) -> Float32s:
        if not len(model_row_C):
            return np.zeros(0, np.float32)
        return self.scorer.scores(now, model_row_C)

    def _draw(self, asked: Context, row_C: Ints, sources: list[str], score_C: Float32s) -> Drawn:
        ids = tuple(self.recommender.shelf.ids[row] for row in row_C.tolist())
        score_1C, every_1C = score_C[None].astype(np.float64), np.ones((1, len(ids)), bool)
        chosen, propensity, probability = sample_slates(
            score_1C, every_1C, self.slate, asked.k, asked.rng
        )
        return Drawn(ids, tuple(sources), score_C, chosen[0], propensity[0], probability[0])


def _in_order(row_C: Ints) -> Float32s:
    """Return scores that keep the order in which items were found."""
    return -np.arange(len(row_C), dtype=np.float32)
