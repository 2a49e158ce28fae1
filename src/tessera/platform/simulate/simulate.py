"""The loop: publish a first model, serve, let days happen, watch, retrain, reckon at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

import pyarrow.compute as pc
import pyarrow.parquet as pq

from tessera.contracts.split import load_split
from tessera.platform.release.exploration import explores
from tessera.platform.release.pointer import current_bundle, current_version
from tessera.platform.simulate import keep
from tessera.platform.simulate.happenings import market_on
from tessera.platform.simulate.outcome import Watched, outcome
from tessera.platform.simulate.place import Place, alone, open_place
from tessera.platform.simulate.plan import Plan
from tessera.platform.simulate.reckoning import reckon
from tessera.platform.simulate.retraining import retrain, runs
from tessera.platform.simulate.service import Json, Service, serving
from tessera.platform.simulate.took import timed, took
from tessera.platform.simulate.visits import Player
from tessera.platform.simulate.watching import acts, alarms, watch
from tessera.platform.watching.page import leave
from tessera.platform.workspace import files
from tessera.platform.workspace.params import load_params
from tessera.serve.slate import at
from tessera.stages.synth.behaviour import Market
from tessera.stages.synth.interactions import DAY
from tessera.stages.synth.params import SynthParams
from tessera.stages.synth.stage import draw_market
from tessera.stages.synth.town import FIRST_US, settled

Say = Callable[[str], None]
RESULT = "simulation.json"


def simulate(folder: Path, plan: Plan, root: Path, say: Say) -> dict[str, Any]:
    """Play what is left of a simulation, and return what all of it came to.

    Parameters
    ----------
    folder : Path
        Workspace of the simulation, made where there is none.
    plan : Plan
        What is simulated.
    root : Path
        Repository whose params, suites and what is watched it starts from.
    say : callable
        Is told of each day and each run, in a line.
    """
    place = open_place(folder, plan, root)
    with alone(place) as lock:
        _Loop(place, lock, say).play()
        return _told(place, say)


def tell(folder: Path, plan: Plan, root: Path, say: Say) -> dict[str, Any]:
    """Return what a simulation that was played came to, as it is reckoned now.

    Parameters are those of `simulate`.
    """
    place = open_place(folder, plan, root)
    with alone(place):
        return _told(place, say)


def _told(place: Place, say: Say) -> dict[str, Any]:
    days, told = keep.figures(place), runs(place)
    say(f"{len(told)} models are asked what they would have earned ...")
    dates = {day["date"]: day["day"] for day in days}
    watched = Watched(alarms(place, dates), acts(place, dates))
    with timed(place, "reckoning"):
        worth = reckon(place, told)
    found = {**outcome(place.plan, days, told, worth, watched), "seconds": took(place)}
    files.write_json(found, place.played / RESULT)
    leave(place.workspace)
    return found


@dataclass
class _Loop:
    place: Place
    lock: IO[str]
    say: Say

    def play(self) -> None:
        """Play the days that are left."""
        done, plan = keep.days_done(self.place), self.place.plan
        if done == 0:
            self._retrain(-1)
        if done == plan.days:
            watch(self.place, keep.figures(self.place)[-1]["date"])
            return
        params = cast(SynthParams, load_params(self.place.workspace)["synth"])
        market = draw_market(params)
        player = self._resumed(market) if done else self._begun(params)
        now_us = FIRST_US + (plan.log_days + done) * DAY
        with serving(self.place, self.lock, now_us) as service:
            if done == 0:
                _tell_since_cut(self.place, service)
            else:
                self._end_day(done - 1, service)
            for day in range(done, plan.days):
                self._play_day(day, player, market, service)

    def _play_day(self, day: int, player: Player, market: Market, service: Service) -> None:
        player.town.market = market_on(day, self.place.plan, market)
        with timed(self.place, "visits"):
            played = player.play(day, service)
            keep.save(self.place, player, played)
        told = played.figures
        self.say(
            f"day {day + 1}: {', '.join(told['versions'])} earned {told['value']:.4f} a request, "
            f"the house {told['house']:.4f}, one who knows {told['oracle']:.4f}"
        )
        self._end_day(day, service)

    def _end_day(self, day: int, service: Service) -> None:
        """Do what follows a day that was kept; whoever was killed before does it now."""
        with timed(self.place, "watch"):
            asks = watch(self.place, keep.figures(self.place)[day]["date"])
        self._follow(service)
        if self.place.plan.is_due(day) or (asks and day + 1 < self.place.plan.days):
            self._retrain(day, service)

    def _follow(self, service: Service) -> None:
        """Wait until the service does what acts ask of it."""
        workspace = self.place.workspace
        version = str(current_version(workspace))
        if refused := service.wait_for(version, explores=explores(workspace)):
            self.say(f"{version} is not served: {refused}")

    def _retrain(self, day: int, service: Service | None = None) -> None:
        with timed(self.place, "runs"):
            found = retrain(self.place, day, self.lock)
        what = f"published as {found['published']}" if found["published"] else "not published"
        self.say(f"run behind day {day + 1}: {found['decision']}, {what} ({found['reason']})")
        if service is not None:
            self._follow(service)

    def _resumed(self, market: Market) -> Player:
        town, coming = keep.load(self.place, market)
        return Player(self.place.plan, town, coming)

    def _begun(self, params: SynthParams) -> Player:
        keep.forget_log(self.place)
        begun_us = self.place.plan.log_days * DAY
        town = settled(self.place.workspace.artifact("events"), params, begun_us)
        return Player(self.place.plan, town, [])


def _tell_since_cut(place: Place, service: Service) -> None:
    """Tell the service what happened between the cut of the first model and its own first day."""
    cut = load_split(current_bundle(place.workspace) / "split.json").cut
    begun = at(FIRST_US + place.plan.log_days * DAY)
    rows = pq.read_table(
        place.workspace.artifact("events"), filters=pc.field("event_ts") > cut
    ).sort_by("event_ts")
    service.happened([_event(row) for row in rows.to_pylist()])
    closes = pq.read_table(
        place.workspace.artifact("prices"),
        columns=["item_id", "price_ts", "close_eur"],
        filters=(pc.field("price_ts") > cut) & (pc.field("price_ts") < begun),
    ).to_pylist()
    service.priced([{**row, "price_ts": row["price_ts"].isoformat()} for row in closes])
    service.classed(_classes_since(cut, begun, place))


def _classes_since(cut: datetime, begun: datetime, place: Place) -> list[Json]:
    columns = ["user_id", "valid_from", "risk_class", "capacity_class"]
    since, known = pc.field("valid_from"), pc.field("risk_class").is_valid()
    rows = pq.read_table(
        place.workspace.artifact("users"),
        columns=columns,
        filters=known & (since > cut) & (since < begun),
    )
    return [
        {
            "investor_id": row["user_id"],
            "risk_class": row["risk_class"],
            "capacity_class": row["capacity_class"],
            "valid_from": row["valid_from"].isoformat(),
        }
        for row in rows.to_pylist()
    ]


def _event(row: dict[str, Any]) -> Json:
    told = {
        "event_id": row["event_id"],
        "investor_id": row["user_id"],
        "item_id": row["item_id"],
        "action": row["action"],
        "time": row["event_ts"].isoformat(),
        "value": float(row["amount_eur"] or 0.0),
    }
    return told | ({"request_id": row["request_id"]} if row["request_id"] else {})
