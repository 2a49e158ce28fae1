"""Fixtures that every test may use; heavy ones are built once a session."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def official():
    """Folder that holds the official files of every source, one sub-folder each."""
    named = os.environ.get("TESSERA_DATA")
    if not named:
        pytest.skip("TESSERA_DATA names no folder with official files")
    folder = Path(named)
    assert folder.is_dir(), f"TESSERA_DATA names {folder}, which is no folder"
    return folder


@pytest.fixture(scope="session")
def repository():
    return Path(__file__).resolve().parents[1]
