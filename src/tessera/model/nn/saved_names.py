"""Weights keep the names that they had in files before their part could be chosen."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def saved_as(owner: nn.Module, part: str, name: str) -> None:
    """Let what `owner.part` learns stand in files under a name, or among the owner's own.

    Parameters
    ----------
    owner
        Module whose attribute `part` is a module.
    name
        What stands in files in place of the attribute; nothing puts it among the owner's own.

    Raises
    ------
    ValueError
        If something of the owner has such a name already.
    """
    ours = {key for key in owner.state_dict() if not key.startswith(f"{part}.")}
    taken = {_named(name, key) for key in getattr(owner, part).state_dict()} & ours
    if taken:
        raise ValueError(f"a model has a {min(taken)} already; give that of {part} another name")

    def write(module: nn.Module, state: dict[str, Tensor], prefix: str, _told: object) -> None:
        for key in getattr(module, part).state_dict():
            state[f"{prefix}{_named(name, key)}"] = state.pop(f"{prefix}{part}.{key}")

    def read(module: nn.Module, state: dict[str, Tensor], prefix: str, *_told: Any) -> None:
        for key in getattr(module, part).state_dict():
            old = f"{prefix}{_named(name, key)}"
            if old in state:
                state[f"{prefix}{part}.{key}"] = state.pop(old)

    owner.register_state_dict_post_hook(write)  # type: ignore[no-untyped-call]
    owner.register_load_state_dict_pre_hook(read)  # type: ignore[no-untyped-call]


def _named(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key
