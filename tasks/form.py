"""Ask a person what one run may differ in, with every answer typed and bounded."""

from __future__ import annotations

import os
from collections.abc import Iterable

from airflow.sdk import Param

from tasks.stage import ROOT
from tessera.platform.workspace.paths import DEFAULT_PROFILE, profile_names

TAGS = ["tessera"]
"""What the list of DAGs can be narrowed to."""
MAYBE = ["null", "string"]
_LINE = r"[^\x00-\x1f]*$(?!\n)"
"""One line to its end, which Python's `$` alone would let a line break follow."""
_TEXT = r"^[^\x00]*$"
"""What an environment variable can hold; an act makes one line of it."""


def form(stages: Iterable[str]) -> dict[str, Param]:
    """Return the params of the DAG, which the UI shows as a form and the REST API checks."""
    data = "Folder with the official files, absolute; the market needs none."
    cut = (
        "Last moment to learn from, 00:00 UTC of that day; empty: the profile's own, or the end "
        "of an automatic run's interval."
    )
    again = "Run this stage and those after it even if nothing changed."
    reason = "Publish against the verdict, for this recorded reason."
    approval = "Ask a person, by tessera_promote, before a PROMOTE is published."
    return {
        "profile": profile_param(),
        "data": Param(None, data, type=MAYBE, pattern=f"^/{_LINE}", maxLength=1000),
        "cut": Param(None, cut, type=MAYBE, format="date"),
        "from_stage": Param(
            None, again, type=MAYBE, enum=[None, *stages], values_display={"null": "none"}
        ),
        "force": Param(False, "Run every stage even if nothing changed.", type="boolean"),
        "approval": Param(False, approval, type="boolean"),
        "override_reason": Param(
            None, reason, type=MAYBE, minLength=10, maxLength=500, pattern=_TEXT
        ),
    }


def owner() -> str:
    """Who answers for the runs, as the list of DAGs shows it."""
    return os.environ.get("TESSERA_OWNER") or "tessera"


def profile_param() -> Param:
    """Return the choice of a profile; `TESSERA_PROFILE` says which by default."""
    profile = os.environ.get("TESSERA_PROFILE", DEFAULT_PROFILE)
    names = profile_names(ROOT)
    return Param(profile, "A YAML file under profiles/.", type="string", enum=names)


def version_param(what: str) -> Param:
    """Return the question for a published version, which may be left empty."""
    return Param(None, what, type=MAYBE, pattern=r"^v[0-9]+$(?!\n)")


def reason_param(what: str) -> Param:
    """Return the question for a reason, which must be given."""
    return Param(None, what, type="string", minLength=10, maxLength=500, pattern=_TEXT)
