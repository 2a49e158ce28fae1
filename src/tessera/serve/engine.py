"""From a request to a slate: hydrate, retrieve, score, draw, explain.

The slate is drawn by the policy that was judged, from candidates that suit the investor as of now,
so that what is logged of it is what another policy can be judged by.

Shapes: I items of the bundle in the order of its table, C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow.parquet as pq

from tessera.bundles.manifest import read_manifest
from tessera.bundles.vectors import Search
from tessera.contracts.arrays import Bools, Float32s, Ints
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.library_errors import translate_errors
from tessera.model.sequences.catalogue import microseconds
from tessera.serve.context import Context, Deadline
from tessera.serve.investors import Investor, investor
from tessera.serve.online.scorer import Now, Scorer
from tessera.serve.online.standing import standing
from tessera.serve.params import ServeParams
from tessera.serve.ranker import open_ranker
from tessera.serve.recommend import Recommender
from tessera.serve.retrieval import Retriever, retrieved
from tessera.serve.slate import Drawn, Slate, best, greedy
from tessera.shared.policies.serving import read_policy
from tessera.shared.policies.slate import SlatePolicy, sample_slates

_END = np.iinfo(np.int64).max
_POSITIONS = 10
"""Of a slate where no log showed how many are usual."""
UNIFORM = "uniform"
"""Source of the candidates that were drawn from all that suits."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One published bundle, and what came after its cut."""

    version: str
    identity: str
    recommender: Recommender
    scorer: Scorer
    slate: SlatePolicy
    slate_size: int
    item_row: dict[str, int]
    """Row I of each item."""
    from_I: Ints
    """First microsecond that an item can be bought."""
    to_I: Ints
    """Microsecond from which it no longer can."""
    search: Search
    """Vectors of the items."""
    params: ServeParams

    @classmethod
    def open(cls, bundle: Path, params: ServeParams) -> Self:
        """Read a published bundle whose manifest was checked.

        Raises
        ------
        BrokenBundle
            If a file is damaged, or it carries no model.
        """
        recommender, ranker = Recommender.open(bundle), open_ranker(bundle)
        if ranker is None:
            raise BrokenBundle(
                f"{bundle.name} carries no ranking head and cannot be served: run the pipeline and "
                "publish a model that has one"
            )
        policy = read_policy(bundle)
        ids = recommender.items["item_id"].to_pylist()
        from_I, to_I = _lifetimes(bundle, ids)
        return cls(
            bundle.name,
            str(read_manifest(bundle)["identity"]),
            recommender,
            Scorer.fresh(ranker, params.kept_mb),
            policy.slate,
            policy.slate_size or _POSITIONS,
            {item: row for row, item in enumerate(ids)},
            from_I,
            to_I,
            Search.open(bundle),
            params,
        )

    def warm_up(self) -> None:
        """Answer once, so that nobody waits for what is built at the first request."""
        self.answer("warm-up", "", self.scorer.ranker.moment, self.slate_size)

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
        )

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
            ids, sources = self._candidates(asked, who)
        with asked.step("score"):
            unscored = asked.skips("score")
            score_C = _in_order(ids) if unscored else self._scores(now, ids)
        with asked.step("draw"):
            drawn = self._draw(asked, ids, sources, score_C)
            drawn = best(drawn, k) if unscored else drawn
        with asked.step("explain"):
            shown = [drawn.candidate_ids[one] for one in drawn.shown()]
            reasons = self._reasons(asked, who, shown)
        context = f"{self.identity[:12]}+{now.since.version}"
        return Slate(
            request_id,
            user_id,
            moment,
            greedy(self.version) if unscored else self.version,
            context,
            drawn,
            reasons,
            tuple(asked.flags),
            asked.took_s,
        )

    def facts(self, item_id: str) -> dict[str, str]:
        """Return name and category of an item, for people."""
        row = self.item_row[item_id]
        items = self.recommender.items
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
            "suitable candidates"
        )

    def _candidates(self, asked: Context, who: Investor) -> tuple[list[str], list[str]]:
        eligible_I = self.recommender.open_I(who) & self._alive_I(asked.moment)
        found = retrieved(self._asked(asked), who, eligible_I, self.params.retrieved)
        ids = [item for item, _ in found]
        rest_I = eligible_I.copy()
        rest_I[[self.item_row[item] for item in ids]] = False
        open_rows = np.flatnonzero(rest_I)
        more = min(self.params.uniform, len(open_rows))
        extra = asked.rng.choice(open_rows, more, replace=False) if more else open_rows[:0]
        item_id_I = self.recommender.items["item_id"]
        ids += [item_id_I[int(row)].as_py() for row in extra]
        return ids, ["retrieved"] * len(found) + [UNIFORM] * more

    def _asked(self, asked: Context) -> tuple[Retriever, ...]:
        """Return the retrievers that there is time for."""
        every = self.recommender.retrievers
        cheap = tuple(one for one in every if not getattr(one, "dear", False))
        return cheap if len(cheap) < len(every) and asked.skips("retrieve") else every

    def _reasons(self, asked: Context, who: Investor, shown: list[str]) -> dict[str, str]:
        if asked.skips("explain"):
            return dict.fromkeys(shown, f"suitable for {who.level} investors")
        return self.recommender.reasons(who, shown)

    def _alive_I(self, moment: int) -> Bools:
        return np.asarray((self.from_I <= moment) & (self.to_I > moment))

    def _scores(self, now: Now, ids: list[str]) -> Float32s:
        if not ids:
            return np.zeros(0, np.float32)
        row = self.scorer.ranker.row
        return self.scorer.scores(now, np.array([row.get(item, 0) for item in ids], np.int64))

    def _draw(self, asked: Context, ids: list[str], sources: list[str], score_C: Float32s) -> Drawn:
        score_1C, every_1C = score_C[None].astype(np.float64), np.ones((1, len(ids)), bool)
        chosen, propensity, probability = sample_slates(
            score_1C, every_1C, self.slate, asked.k, asked.rng
        )
        return Drawn(tuple(ids), tuple(sources), score_C, chosen[0], propensity[0], probability[0])


def _in_order(ids: list[str]) -> Float32s:
    """Return scores that keep the order in which items were found."""
    return -np.arange(len(ids), dtype=np.float32)


def _lifetimes(bundle: Path, ids: list[str]) -> tuple[Ints, Ints]:
    with translate_errors(
        BrokenBundle, f"{bundle.name}: its facts cannot be read", "publish it again"
    ):
        rows = pq.read_table(bundle / "facts" / "items.parquet").sort_by("item_id")
        if rows["item_id"].to_pylist() != ids:
            raise BrokenBundle(f"{bundle.name}: items and facts know other items; publish it again")
        from_I = microseconds(rows["valid_from"].fill_null(0))
        missing = rows["valid_to"].is_null().to_numpy()
        return from_I, np.where(missing, _END, microseconds(rows["valid_to"].fill_null(0)))
