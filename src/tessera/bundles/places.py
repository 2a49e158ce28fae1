"""Where things lie in the registry of a profile, for those who know no more than a path in it."""

from __future__ import annotations

from pathlib import Path

_BUNDLES, _LOG, _WATCHED = "bundles", "served", "watched"
_FIGURES = "series.prom"


def bundles_of(registry: Path) -> Path:
    """Return the folder of the published bundles."""
    return registry / _BUNDLES


def log_of(registry: Path) -> Path:
    """Return the folder of what was served."""
    return registry / _LOG


def watched_of(registry: Path) -> Path:
    """Return the folder of what was measured of each day that was served."""
    return registry / _WATCHED


def figures_beside(log: Path) -> Path:
    """Return the figures of the newest watched day, which lie beside a log, for Prometheus."""
    return watched_of(log.parent) / _FIGURES


def log_beside(bundle: Path) -> Path:
    """Return the folder of what was served from a registry; of any other bundle one within it."""
    return log_of(bundle.parent.parent if bundle.parent.name == _BUNDLES else bundle)


def bundles_beside(log: Path) -> Path:
    """Return the published bundles of the registry in which a log lies."""
    return bundles_of(log.parent)
