"""Keep params.yaml complete: values as they stand, comments from the docstrings of the classes.

Values belong to whoever turns them; comments, order and which fields there are, to the code.
"""

from __future__ import annotations

import json
import textwrap
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tessera.platform.workspace.params import section_types
from tessera.platform.workspace.paths import Workspace

HEADER = """\
# Every value a person may turn, one section per stage.  A profile under profiles/ overrides some.
# Comments are rendered from the code by `make render`; values stay as you set them.
"""


def render_params(workspace: Workspace) -> str:
    """Return the text of params.yaml: present values, defaults for the rest, documented."""
    path = workspace.root / "params.yaml"
    present = (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}
    parts = [HEADER]
    for name, kind in section_types().items():
        parts.append(_section(name, kind, present.get(name) or {}))
    return "\n".join(parts)


def _section(name: str, kind: type[BaseModel], values: dict[str, Any]) -> str:
    kept = {field: value for field, value in values.items() if field in kind.model_fields}
    checked = kind.model_validate(kept).model_dump(mode="json")
    lines = [f"# {' '.join((kind.__doc__ or '').split())}", f"{name}:"]
    for field, info in kind.model_fields.items():
        about = " ".join((info.description or "").split()) + _bounds(info)
        lines += textwrap.wrap(about, 96, initial_indent="  # ", subsequent_indent="  # ")
        lines.append(f"  {field}: {json.dumps(checked[field], ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def _bounds(info: FieldInfo) -> str:
    """Say the bounds of a field, e.g. `[1 to 200]` or `[market | table]`."""
    low = next((m.ge for m in info.metadata if getattr(m, "ge", None) is not None), None)
    high = next((m.le for m in info.metadata if getattr(m, "le", None) is not None), None)
    choices = getattr(info.annotation, "__args__", ())
    if low is not None and high is not None:
        return f" [{low:g} to {high:g}]"
    if choices and all(isinstance(choice, str) for choice in choices):
        return f" [{' | '.join(choices)}]"
    return ""
