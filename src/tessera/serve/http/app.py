"""Routes of the service."""

from __future__ import annotations

from dataclasses import asdict
from sys import intern
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool

from tessera.bundles.places import figures_beside
from tessera.serve.clock import Clock
from tessera.serve.context import Deadline
from tessera.serve.events import STATUSES, Event
from tessera.serve.http.bodies import (
    MOST_ITEMS,
    Answer,
    Ask,
    Happening,
    Happenings,
    Refusal,
    Similar,
    Taken,
    Version,
)
from tessera.serve.http.bounded import Bounded
from tessera.serve.http.classes import add_classes
from tessera.serve.http.console import add_console
from tessera.serve.http.door import Door
from tessera.serve.http.guard import may
from tessera.serve.http.investors import add_investors
from tessera.serve.http.keys import Keys
from tessera.serve.http.prices import add_prices
from tessera.serve.http.problems import Refused, documented, handle_problems, taken_in
from tessera.serve.http.reference import add_reference
from tessera.serve.http.shown import shown
from tessera.serve.http.whom import moment_of, named, user_of
from tessera.serve.measures import exposition
from tessera.serve.params import ServeParams
from tessera.serve.service import Service
from tessera.serve.slate import Slate, at


def make_app(
    service: Service,
    clock: Clock,
    keys: Keys,
    params: ServeParams | None = None,
    *,
    secure: bool = False,
    session_secret: str | None = None,
) -> FastAPI:
    """Return the application that serves one profile.

    `secure` says that it stands behind TLS; processes that share a secret know each other's
    sessions.
    """
    params = params or ServeParams()
    app = FastAPI(title="Tessera", version="1", docs_url=None, redoc_url=None)
    handle_problems(app)
    _recommendations(app, service, clock, params)
    add_investors(app, service, clock)
    add_prices(app, service, clock)
    add_classes(app, service, clock)
    _about(app, service, clock, params.open_metrics)
    add_console(app, service, clock, keys, secure=secure, session_secret=session_secret)
    add_reference(app)
    app.add_middleware(Bounded, door=Door.of(keys, params), secure=secure)  # outermost
    return app


def _recommendations(app: FastAPI, service: Service, clock: Clock, params: ServeParams) -> None:
    span_s, late_days = params.deadline_ms / 1000, params.late_days
    asks, tells = ([Depends(may(what))] for what in ("recommend", "feedback"))

    @app.post(
        "/v1/recommendations",
        summary="Draw a slate for an investor, a session, or somebody with a history",
        response_model=Answer,
        responses=documented(401, 403, 413, 422),
        dependencies=asks,
    )
    async def recommend(ask: Ask, request: Request) -> Response:
        moment = moment_of(ask.context.time, clock, "context.time", late_days)
        identity, deadline = request.state.request_id, Deadline(request.state.begun, span_s)
        text = await run_in_threadpool(_told, service, ask, identity, moment, deadline, clock)
        # As it stands: it was checked when it was made, and to check it again takes a while.
        return Response(text, media_type="application/json")

    @app.post(
        "/v1/events",
        summary="Take in what investors did; the very next slate knows it",
        responses=documented(401, 403, 413, 422, 503),
        dependencies=tells,
    )
    async def happened(body: Happenings) -> Taken:
        events = [
            event_from(one, clock, f"events.{n}.", late_days) for n, one in enumerate(body.events)
        ]
        untimed = frozenset(n for n, one in enumerate(body.events) if one.time is None)
        found = await taken_in(service.happened, events, untimed)
        return Taken(**{one: found.count(one) for one in STATUSES}, status=found)

    @app.get(
        "/v1/items/{item_id}/similar",
        summary="Name the nearest items by their vectors",
        responses=documented(401, 403, 404, 422),
        dependencies=asks,
    )
    async def similar(item_id: str, k: int = 10) -> list[Similar]:
        if not 1 <= k <= MOST_ITEMS:
            raise Refused(422, "Invalid request", f"k must lie in 1 to {MOST_ITEMS}", "k")
        found = await run_in_threadpool(service.engine.people.similar, item_id, k)
        if found is None:
            raise Refused(404, "Unknown item", "no such item in the catalogue", "item_id")
        return [Similar(**one) for one in found]


def _about(app: FastAPI, service: Service, clock: Clock, open_metrics: bool) -> None:
    views = [Depends(may("view"))]
    watches = [Depends(may("view", open_near=open_metrics))]

    @app.get(
        "/v1/version",
        summary="Say what is served, and by which policy",
        responses=documented(401, 403, 422),
        dependencies=views,
    )
    async def version() -> Version:
        await run_in_threadpool(service.catch_up)
        engine, now = service.engine, clock.now()
        cut, close = engine.freshness()
        return Version(
            version=engine.version,
            identity=engine.identity,
            policy=engine.told(),
            events=engine.scorer.state.version,
            cut=at(cut),
            cut_age_s=(now - cut) / 1e6,
            newest_close=None if close is None else at(close),
            close_age_s=None if close is None else (now - close) / 1e6,
            refused=service.refused and Refusal(**asdict(service.refused)),
            explores=service.explores,
            **service.challengers(),
        )

    @app.get(
        "/metrics",
        summary="Give the figures for Prometheus",
        responses=documented(401, 403),
        dependencies=watches,
        response_class=PlainTextResponse,
    )
    async def metrics() -> Response:
        watched = figures_beside(service.log.path.parent)
        figures = await run_in_threadpool(exposition, service.engine.version, watched)
        return Response(figures, media_type=CONTENT_TYPE_LATEST)

    @app.get("/healthz", summary="Say that the process is alive")
    async def alive() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Say that slates can be logged", responses=documented(503))
    async def ready() -> dict[str, Any]:
        if service.log.failed:
            raise Refused(
                503, "Not ready", "the served log cannot be written: see the server's log"
            )
        told: dict[str, Any] = {"status": "ok", "version": service.engine.version}
        return told | ({"refused": asdict(service.refused)} if service.refused else {})


def event_from(
    one: Happening, clock: Clock, within: str = "", late_days: float | None = None
) -> Event:
    """Read an event that was told at a moment of the clock; `within` names where it stood.

    Raises
    ------
    Refused
        If its time is still to come or too long past, or it is not of one investor or session.
    """
    return Event(
        one.event_id,
        intern(user_of(one, within)),  # events are kept for as long as their bundle
        intern(one.item_id),
        intern(one.action),
        moment_of(one.time, clock, f"{within}time", late_days),
        one.request_id,
        one.value,
        one.channel,
    )


def _told(
    service: Service, ask: Ask, identity: str, moment: int, deadline: Deadline, clock: Clock
) -> str:
    """Answer as text: whoever still had to write it on the loop would wait for the next slate."""
    if named(ask) == "history":
        done = _history(ask, clock, moment)
        slate = service.recommend_inline(identity, done, moment, ask.k, deadline)
    else:
        asked = identity, user_of(ask), moment, ask.k, deadline, ask.context.channel
        slate = service.recommend(*asked)
    return _answer(slate, ask).model_dump_json()


def _history(ask: Ask, clock: Clock, moment: int) -> list[tuple[str, str, int]]:
    return [
        (one.item_id, one.action, moment_of(one.time, clock, f"history.{n}.time"))
        if one.time
        else (one.item_id, one.action, moment - 1)
        for n, one in enumerate(ask.history or ())
    ]


def _answer(slate: Slate, ask: Ask) -> Answer:
    return Answer(
        request_id=slate.request_id,
        investor_id=ask.investor_id,
        session_id=ask.session_id,
        time=at(slate.moment),
        policy_id=slate.policy_id,
        version=slate.version,
        context_version=slate.context_version,
        flags=list(slate.flags),
        removed=slate.removed,
        items=shown(slate),
    )
