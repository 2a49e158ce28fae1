"""What a bundle is told of that came after its cut: events and closes."""

from __future__ import annotations

from collections.abc import Iterable

from tessera.serve.closes import Close
from tessera.serve.engine import Engine
from tessera.serve.events import Event


def feed(engine: Engine, events: Iterable[Event]) -> None:
    """Tell of further events."""
    for one in events:
        engine.scorer.state.add(*_row(one))


def begin_again(engine: Engine, events: Iterable[Event]) -> None:
    """Tell of these events instead of all before."""
    engine.scorer.begin_again(map(_row, events))


def price(engine: Engine, closes: Iterable[Close]) -> None:
    """Tell of further closes; they count once they are laid out."""
    if engine.scorer.state.prices is not None:
        engine.scorer.state.prices.note(closes)


def lay_out(engine: Engine) -> None:
    """Let answers from now on read all closes that were told."""
    if engine.scorer.state.prices is not None:
        engine.scorer.state.prices.lay_out()


def _row(event: Event) -> tuple[str, str, str, str, int]:
    return event.event_id, event.user_id, event.item_id, event.action, event.moment
