"""No test of alarms speaks to a webhook of whoever runs it."""

from __future__ import annotations

import pytest

from tessera.contracts.series import Mover


@pytest.fixture
def mover():
    return Mover


@pytest.fixture(autouse=True)
def _no_webhook(monkeypatch):
    monkeypatch.delenv("TESSERA_WEBHOOK", raising=False)
    monkeypatch.delenv("TESSERA_WEBHOOK_SECRET", raising=False)
