"""Keep params.yaml complete: values as they stand, comments from the docstrings of the classes.

Values belong to whoever turns them; comments, order and which fields there are, to the code.
"""

from __future__ import annotations

import json
import textwrap
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tessera.contracts.params import ROOT, RootParams, owned
from tessera.platform.workspace import files
from tessera.platform.workspace.params import section_types
from tessera.platform.workspace.paths import Workspace

HEADER = """\
# Every value a person may turn: the root of all seeds, what is true of the data for all stages
# (`data`), one section per stage, and two of no stage (`gate`, `serve`).  A profile under
# profiles/ overrides some.
# Comments are rendered from the code by `make render`; values stay as you set them.
"""


def render_params(workspace: Workspace) -> str:
    """Return the text of params.yaml: present values, defaults for the rest, documented."""
    path = workspace.root / "params.yaml"
    present = (files.parse_yaml(path.read_text()) or {}) if path.exists() else {}
    root = RootParams.model_validate({ROOT: present[ROOT]} if ROOT in present else {})
    parts = [HEADER, "\n".join(_lines(root, "")) + "\n"]
    for name, kind in section_types().items():
        parts.append(_section(name, kind, present.get(name) or {}))
    return "\n".join(parts)


def _section(name: str, kind: type[BaseModel], values: dict[str, Any]) -> str:
    kept = {field: values[field] for field in owned(kind) if field in values}
    head = [f"# {' '.join((kind.__doc__ or '').split())}", f"{name}:"]
    return "\n".join(head + _lines(kind.model_validate(kept), "  ")) + "\n"


def _lines(checked: BaseModel, indent: str) -> list[str]:
    """Write each param that stands here, with what it means above it."""
    lines, kind, values = [], type(checked), checked.model_dump(mode="json")
    for field in owned(kind):
        info = kind.model_fields[field]
        about = " ".join((info.description or "").split()) + _bounds(info)
        lines += textwrap.wrap(
            about, 96, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
        )
        lines.append(f"{indent}{field}: {json.dumps(values[field], ensure_ascii=False)}")
    return lines


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
