"""What a bundle is told of that came after its cut: events, closes, classes, and who was erased."""

from __future__ import annotations

from collections.abc import Iterable

from tessera.serve.classes import InvestorClass
from tessera.serve.closes import Close
from tessera.serve.engine import Engine
from tessera.serve.events import Event


def feed(engine: Engine, events: Iterable[Event]) -> None:
    """Tell of further events."""
    for one in events:
        engine.scorer.state.add(*_row(one))


def begin_again(engine: Engine, events: Iterable[Event], classes: Iterable[InvestorClass]) -> None:
    """Tell of these events and classes instead of all before."""
    engine.scorer.begin_again(map(_row, events), classes)


def classify(engine: Engine, classes: Iterable[InvestorClass]) -> None:
    """Tell of further classes of investors; the very next slate counts them."""
    engine.scorer.state.classify(classes)


def price(engine: Engine, closes: Iterable[Close]) -> None:
    """Tell of further closes; they count once they are laid out."""
    if engine.scorer.state.prices is not None:
        engine.scorer.state.prices.note(closes)


def lay_out(engine: Engine) -> None:
    """Let answers from now on read all closes that were told."""
    if engine.scorer.state.prices is not None:
        engine.scorer.state.prices.lay_out()


def drop_erased(engine: Engine) -> None:
    """Let go of what was read of investors, and shown to them, before somebody was erased."""
    erased = engine.scorer.erased
    if erased is not None:
        engine.exposures.drop(erased.covers)
        engine.scorer.kept.clear()  # nothing but speed, and it tells not whose a history is


def let_go(engine: Engine, user_id: str, moment: int) -> None:
    """Keep no history of whoever was erased while it was read, for something asked at a moment."""
    erased = engine.scorer.erased
    if erased is not None and erased.covers(user_id, moment):
        engine.scorer.kept.keep(user_id, None)


def _row(event: Event) -> tuple[str, str, str, str, int]:
    return event.event_id, event.user_id, event.item_id, event.action, event.moment
