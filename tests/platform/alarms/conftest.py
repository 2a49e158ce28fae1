"""Days that were watched, planted: what alarms on which day."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime, timedelta

import pytest

from tessera.contracts.series import Mover, Point, read_day, write_day

FIRST = date(2025, 1, 1)
PLENTY = {"rows": 4000, "investors": 900}


def point(series="psi.investors.segment", slice_="all", *, alarm=True, **told):
    """A series beyond its threshold, unless a test says otherwise."""
    facts = {"value": 0.4, "low": 0.3, "high": 0.5, "threshold": 0.1, "side": "above",
             "p_value": 1e-5, **PLENTY, **told}  # fmt: skip
    return Point(series, slice_, alarm=alarm, **facts)


class Planted:
    """Writes days of a profile and reads the clock at their end."""

    point = staticmethod(point)
    FIRST = FIRST

    def __init__(self, workspace):
        self.workspace = workspace

    def day(self, number, *points, movers=(), remarks=(), bundles=None, status="measured"):
        """Write the day so many after the first, and read it."""
        day = FIRST + timedelta(days=number)
        folder = self.workspace.watched / day.isoformat()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        facts = {"status": status, "remarks": list(remarks), "inputs": {"bundles": bundles or {}}}
        write_day(folder, day, points, movers, facts)
        return read_day(folder)

    @staticmethod
    def after(day, days=0):
        """An hour after the end of a day, and so many days."""
        return datetime.combine(day.day, datetime.min.time(), UTC) + timedelta(
            days=1 + days, hours=1
        )


@pytest.fixture
def planted(workspace):
    return Planted(workspace)


@pytest.fixture
def mover():
    return Mover


@pytest.fixture(autouse=True)
def _no_webhook(monkeypatch):
    monkeypatch.delenv("TESSERA_WEBHOOK", raising=False)
    monkeypatch.delenv("TESSERA_WEBHOOK_SECRET", raising=False)
