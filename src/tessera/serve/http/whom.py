"""Whom a request or an event is of: an investor, a session of somebody unknown, or a history.

And when it was.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pydantic import BaseModel

from tessera.contracts.arrow import DAY_US
from tessera.serve.clock import Clock
from tessera.serve.erased import PSEUDONYM
from tessera.serve.http.problems import Refused
from tessera.serve.slate import at

SESSION = "session:"
"""How the name begins under which the log and the state keep a session; no investor has such."""
AHEAD_US = 60_000_000
"""Clocks may differ by a minute; what comes later than that is to come."""
_EPOCH, _US = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_TAKEN = {
    SESSION: f"{SESSION} begins the name of a session: send session_id",
    PSEUDONYM: f"{PSEUDONYM} begins the name of somebody erased: nobody else may bear such a name",
}
"""How no investor may be called."""
_WAYS = ("investor_id", "session_id", "history")


def named(body: BaseModel, within: str = "") -> str:
    """Return the one field that says whom a body is of; `within` names where the body stood.

    Raises
    ------
    Refused
        If there are none or several.
    """
    ways = [name for name in _WAYS if name in type(body).model_fields]
    given = [name for name in ways if getattr(body, name) is not None]
    if len(given) == 1:
        return given[0]
    field = within + (given[1] if given else ways[0])
    raise Refused(422, "Invalid request", f"send exactly one of {', '.join(ways)}", field)


def user_of(body: BaseModel, within: str = "") -> str:
    """Return the name under which log and state know whom a body is of.

    Raises
    ------
    Refused
        If there are none or several, or an investor is named like a session or somebody erased.
    """
    field = named(body, within)
    name = str(getattr(body, field))
    if field == "session_id":
        return SESSION + name
    for beginning, detail in _TAKEN.items():
        if name.startswith(beginning):
            raise Refused(422, "Invalid request", detail, within + field)
    return name


def moment_of(
    time: datetime | None, clock: Clock, field: str, late_days: float | None = None
) -> int:
    """Return a moment in microseconds since 1970; now, if none is said or a clock runs ahead.

    What is done is known to the next slate, whoever's clock says when.

    Raises
    ------
    Refused
        If it is still to come, lies before 1970 (no file of tables could hold it), or further back
        than so many days.
    """
    now = clock.now()
    moment = now if time is None else (time - _EPOCH) // _US
    if moment > now + AHEAD_US:
        said = f"{field} is still to come: here it is {at(now):%Y-%m-%d %H:%M:%S} UTC"
        raise Refused(422, "Invalid request", said, field)
    if moment < 0:
        raise Refused(422, "Invalid request", f"{field} lies before 1970", field)
    if late_days is not None and moment < now - late_days * DAY_US:
        said = f"{field} lies more than {late_days:g} days back (serve.late_days)"
        raise Refused(422, "Invalid request", said, field)
    return min(moment, now)
