"""Classes of investors that come while serving."""

from __future__ import annotations

from fastapi import Depends, FastAPI

from tessera.serve.classes import InvestorClass, new_name
from tessera.serve.clock import Clock
from tessera.serve.engine import Engine
from tessera.serve.http.bodies import Classed, Classing, ClassList
from tessera.serve.http.guard import may
from tessera.serve.http.problems import documented, invalid, taken_in
from tessera.serve.http.whom import moment_of, user_of
from tessera.serve.service import Service
from tessera.serve.slate import at


def add_classes(app: FastAPI, service: Service, clock: Clock) -> None:
    """Add the route by which classes come."""

    @app.post(
        "/v1/investors",
        summary="Take in risk and capacity classes; the very next slate is suitable by them",
        responses=documented(401, 403, 413, 422, 503),
        dependencies=[Depends(may("classify"))],
    )
    async def classed(body: ClassList) -> Classed:
        classes = _classes(body.investors, service.engine, clock)
        new = await taken_in(service.classed, classes)
        return Classed(new=new, known=len(classes) - new)


def _classes(told: list[Classing], engine: Engine, clock: Clock) -> list[InvestorClass]:
    found: dict[tuple[str, int], InvestorClass] = {}
    for n, one in enumerate(told):
        within = f"investors.{n}."
        user_id = user_of(one, within)
        since = moment_of(one.valid_from, clock, f"{within}valid_from")
        if (user_id, since) in found:
            raise invalid(f"{within}valid_from", "is told twice of one investor")
        _require_unsaid(one, user_id, since, engine, within)
        found[user_id, since] = InvestorClass(
            new_name(), user_id, one.risk_class, one.capacity_class, since, clock.now()
        )
    return list(found.values())


def _require_unsaid(one: Classing, user_id: str, since: int, engine: Engine, within: str) -> None:
    """Refuse what would change nothing, though it says another class than the bundle's source."""
    published = engine.published(user_id)
    if published is None or published.since != since:
        return
    same = one.capacity_class in (None, published.capacity_class)
    if not same or one.risk_class != published.risk_class:
        raise invalid(
            f"{within}valid_from",
            f"is {at(since):%Y-%m-%d %H:%M:%S}, and since then the source of the bundle says "
            "another class: tell it with a later time, or put it right there",
        )
