"""An investor is erased: from what is known at once, from the log behind it.

Each step can be repeated, and whatever a crash leaves is ended by the next sealing: the list comes
first, and all that reads the log reads it under the list.
"""

from __future__ import annotations

import fcntl
import shutil
from dataclasses import replace
from pathlib import Path

from tessera.contracts.tables import EVENTS, EXPOSURES, OUTCOMES
from tessera.serve.closed import settle, write_lines
from tessera.serve.erased import Erased, masked_rows
from tessera.serve.hours import MAKING, RECORDS, SEALED, Hour, alone, sealed_hours
from tessera.serve.sealing import write_tables
from tessera.serve.service import Service


def erase(service: Service, user_id: str, moment: int) -> int:
    """Erase an investor as of a moment; return how many events are forgotten.

    What was sealed is rewritten now, the open segments when their hour is sealed.

    Raises
    ------
    OSError
        If it cannot be written: then it is to be asked for again.
    """
    folder = service.log.path.parent
    Erased(folder).add(user_id, moment)
    forgotten = service.forget(user_id)
    mask_sealed(folder)
    return forgotten


def mask_sealed(folder: Path) -> None:
    """Rewrite the sealed hours that hold somebody erased; whoever else is at it does the same."""
    erased = Erased(folder)
    mark = erased.mark
    if not mark:
        return
    try:
        with alone(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
            _remove_replaced(folder)  # what was replaced twice would count again
            for hour in sealed_hours(folder):
                if hour.erased != mark:
                    _mask(folder / SEALED, hour, erased, mark)
            _remove_replaced(folder)
    except BlockingIOError:
        return


def _mask(sealed: Path, hour: Hour, erased: Erased, mark: str) -> None:
    hour.check()
    before = list(hour.records())
    after = [erased.masked(one) for one in before]
    if after == before:
        replace(hour, erased=mark).tell()
        return
    made = sealed / f"{MAKING}-{hour.path.name}"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    tables = {
        EXPOSURES.name: masked_rows(hour.rows(EXPOSURES.name), erased),
        OUTCOMES.name: hour.rows(OUTCOMES.name),
        EVENTS.name: masked_rows(hour.rows(EVENTS.name), erased),
    }
    told = write_tables(tables, made)
    told[RECORDS] = write_lines(after, made / f"{RECORDS}.parquet")
    name, _, turn = hour.path.name.partition(".")
    final = sealed / f"{name}.{int(turn or 0) + 1:04d}"
    settle(Hour(made, hour.segments, told, mark, hour.path.name), final)


def _remove_replaced(folder: Path) -> None:
    for hour in sealed_hours(folder):
        if hour.instead:
            shutil.rmtree(folder / SEALED / hour.instead, ignore_errors=True)
