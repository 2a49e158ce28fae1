"""A component is a module found by its name: what can be plugged in is what stands in the folder.

    tessera.stages.sid.quantizers.rkmeans    a kind, and one of that kind

The params name it, so nobody chooses between names by hand.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from tessera.contracts.errors import BadParams


def component(kind: str, name: str) -> ModuleType:
    """Import one component of a kind.

    The kind must be written out where this is called: `platform.workspace.code` reads it there, so
    that an edit of any component runs again what could use it.

    Raises
    ------
    BadParams
        If the kind has no such component.
    """
    full = f"{kind}.{name}"
    try:
        if name.isidentifier():
            return importlib.import_module(full)
    except ModuleNotFoundError as error:
        if error.name != full:  # what is missing is something that the component needs
            raise
    told = ", ".join(names(kind))
    raise BadParams(f"{kind.removeprefix('tessera.')} has no {name!r}: choose one of {told}")


def names(kind: str) -> list[str]:
    """List the components of a kind, by name."""
    return sorted(one.name for one in pkgutil.iter_modules(importlib.import_module(kind).__path__))
