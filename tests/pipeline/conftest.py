"""No act of these tests waits for MLflow."""

from __future__ import annotations

import pytest

from tessera.index.manifest import read_manifest
from tessera.pipeline import journal


@pytest.fixture(autouse=True)
def alias(monkeypatch):
    """Stand in for MLflow, whose import and tables take longer than an act: profile -> identity."""
    named = {}

    def follow(profile, bundle, store):
        sealed = read_manifest(bundle)
        named[profile] = sealed["identity"] if sealed["kind"] == "model" else None

    monkeypatch.setattr(journal.tracking, "follow", follow)
    monkeypatch.setattr(
        journal.tracking, "champion_identity", lambda profile, store: named.get(profile)
    )
    return named
