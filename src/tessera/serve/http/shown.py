"""A slate as people and programs are told of it."""

from __future__ import annotations

from tessera.serve.engine import Engine
from tessera.serve.http.bodies import Fact, Shown
from tessera.serve.slate import Slate


def shown(slate: Slate, engine: Engine | None = None) -> list[Shown]:
    """Return the positions from the top, each with what chose it.

    What the service answered says itself what its items are; of what was only drawn the bundle says
    it that drew.
    """
    drawn = slate.drawn
    facts = engine.people.facts if engine else slate.facts.__getitem__
    return [
        Shown(
            position=position + 1,
            item_id=drawn.candidate_ids[one],
            score=float(drawn.score_C[one]),
            propensity=float(drawn.propensity_L[position]),
            source=drawn.source_C[one],
            reason=slate.reasons.get(drawn.candidate_ids[one], ""),
            facts=[
                Fact(name=told.name, value=told.value, as_of=told.as_of, source=told.source)
                for told in slate.figures.get(drawn.candidate_ids[one], ())
            ],
            **facts(drawn.candidate_ids[one]),
        )
        for position, one in enumerate(drawn.shown())
    ]
