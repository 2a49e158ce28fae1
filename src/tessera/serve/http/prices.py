"""Closes that come while serving."""

from __future__ import annotations

from fastapi import Depends, FastAPI

from tessera.serve.clock import Clock
from tessera.serve.closes import Close
from tessera.serve.engine import Engine
from tessera.serve.http.bodies import Price, Priced, PriceList
from tessera.serve.http.guard import may
from tessera.serve.http.problems import documented, invalid, taken_in
from tessera.serve.http.whom import moment_of
from tessera.serve.service import Service
from tessera.serve.slate import at


def add_prices(app: FastAPI, service: Service, clock: Clock) -> None:
    """Add the route by which closes come."""

    @app.post(
        "/v1/closes",
        summary="Take in closes behind the bundle's cut; each counts from the next day on",
        responses=documented(401, 403, 413, 422, 503),
        dependencies=[Depends(may("price"))],
    )
    async def priced(body: PriceList) -> Priced:
        closes = _closes(body.closes, service.engine, clock)
        new = await taken_in(service.priced, closes)
        return Priced(new=new, known=len(closes) - new)


def _closes(told: list[Price], engine: Engine, clock: Clock) -> list[Close]:
    cut, _ = engine.freshness()
    found: dict[tuple[str, int], Close] = {}
    for n, one in enumerate(told):
        within = f"closes.{n}."
        if one.item_id not in engine.item_row:
            raise invalid(f"{within}item_id", "is no item of the catalogue")
        moment = moment_of(one.price_ts, clock, f"{within}price_ts")
        if moment <= cut:
            raise invalid(
                f"{within}price_ts",
                f"is not behind the bundle's cut of {at(cut):%Y-%m-%d %H:%M:%S}: publish a bundle "
                "that knows it",
            )
        if (one.item_id, moment) in found:
            raise invalid(f"{within}price_ts", "is told twice of one item")
        found[one.item_id, moment] = Close(one.item_id, moment, one.close_eur, clock.now())
    return list(found.values())
