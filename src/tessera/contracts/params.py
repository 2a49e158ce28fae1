"""How a section of params.yaml becomes a typed, frozen value that refuses what it does not know."""

from __future__ import annotations

from pydantic import ConfigDict

STRICT = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
"""Every params class sets `model_config = STRICT`: the docstring under a field documents it."""
