"""What is known of an investor: to look at, and to be erased."""

from __future__ import annotations

from collections import Counter

from fastapi import Depends, FastAPI
from starlette.concurrency import run_in_threadpool

from tessera.contracts.tables import ACTIONS
from tessera.serve.clock import Clock
from tessera.serve.engine import Engine
from tessera.serve.erasing import erase
from tessera.serve.http.bodies import Done, Erasure, Id, InvestorKnown
from tessera.serve.http.guard import may
from tessera.serve.http.problems import Refused, documented
from tessera.serve.online.investor import Past
from tessera.serve.service import Service
from tessera.serve.slate import at
from tessera.serve.telling import let_go

_LAST = 20


def add_investors(app: FastAPI, service: Service, clock: Clock) -> None:
    """Add the routes of one investor."""
    views, operates = ([Depends(may(what))] for what in ("view", "operate"))

    @app.get(
        "/v1/investors/{investor_id}",
        summary="Tell all that is known of an investor",
        responses=documented(401, 403, 404, 422),
        dependencies=views,
    )
    async def known(investor_id: Id) -> InvestorKnown:
        found = await run_in_threadpool(_known, service, investor_id, clock.now())
        if found is None:
            raise Refused(404, "Unknown investor", "nothing is known of them", "investor_id")
        return found

    @app.delete(
        "/v1/investors/{investor_id}",
        summary="Erase an investor: from what is known, and from the log but for a pseudonym",
        responses=documented(401, 403, 422, 503),
        dependencies=operates,
    )
    async def forget(investor_id: Id) -> Erasure:
        try:
            forgotten = await run_in_threadpool(erase, service, investor_id, clock.now())
        except (OSError, TimeoutError) as error:
            raise Refused(
                503, "Cannot be written", "not all of it was erased: send it again later"
            ) from error
        return Erasure(investor_id=investor_id, forgotten=forgotten)


def _known(service: Service, user_id: str, moment: int) -> InvestorKnown | None:
    service.catch_up()
    return known_of(service.arms.of(user_id), user_id, moment + 1)


def known_of(engine: Engine, user_id: str, moment: int) -> InvestorKnown | None:
    """Return what is known of an investor strictly before a moment; None if nothing is."""
    now = engine.scorer.now(user_id, moment)
    who = engine.who(user_id, now)
    let_go(engine, user_id, moment - 1)
    if not who.is_known:
        return None
    counts = Counter(ACTIONS[action] for action in now.past.action_N.tolist())
    return InvestorKnown(
        investor_id=user_id,
        risk_class=who.risk_class,
        level=who.level,
        capacity_class=who.capacity_class or None,
        held=list(who.held),
        dismissed=list(who.dismissed),
        events=len(now.past),
        counts=dict(sorted(counts.items())),
        last=last(engine, now.past, _LAST),
    )


def last(engine: Engine, past: Past, most: int) -> list[Done]:
    """Return the last events, newest first."""
    ids = engine.scorer.ranker.item_ids
    newest = slice(None, -most - 1, -1)
    rows = zip(past.item_N[newest], past.action_N[newest], past.moment_N[newest], strict=True)
    return [
        Done(item_id=ids[item - 1], action=ACTIONS[action], time=at(int(moment)))
        for item, action, moment in rows
    ]
