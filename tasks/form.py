"""Ask a person what one run may differ in, with every answer typed and bounded."""

from __future__ import annotations

from collections.abc import Iterable

from airflow.sdk import Param

from tessera.pipeline.paths import DEFAULT_PROFILE

MAYBE_TEXT = ["null", "string"]


def form(profiles: Iterable[str], stages: Iterable[str]) -> dict[str, Param]:
    """Return the params of the DAG, which the UI shows as a form and the REST API checks."""
    return {
        "profile": Param(
            DEFAULT_PROFILE, "A YAML file under profiles/.", type="string", enum=list(profiles)
        ),
        "data": Param(
            None,
            "Folder with the official files, absolute; the market needs none.",
            type=MAYBE_TEXT,
            pattern=r"^/[^\x00-\x1f]*$",
            maxLength=1000,
        ),
        "cut": Param(
            None,
            "Last day to learn from; empty: the data interval's end of a scheduled run, "
            "the profile's own cut otherwise.",
            type=MAYBE_TEXT,
            format="date",
        ),
        "from_stage": Param(
            None, "Run again from this stage on.", type=MAYBE_TEXT, enum=[None, *stages]
        ),
        "force": Param(False, "Run every stage again.", type="boolean"),
        "override_reason": Param(
            None,
            "Publish against the verdict, for this recorded reason.",
            type=MAYBE_TEXT,
            minLength=10,
            maxLength=500,
        ),
    }
