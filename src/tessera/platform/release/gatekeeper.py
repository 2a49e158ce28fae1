"""What the runner does around the stages that judge, draw and pack: count, compare, seal.

A stage is pure and has no key.  Before the stage that judges, the runner tells it where its
candidate stands in the ledger of looks and whether its params are looser than the floors; after
it, and before anybody can see the verdict, the look is written down and the verdict sealed.  Before
the stage that packs, the runner compares every byte with what the verdict judged; after it, it
seals the bundle.  The stage that draws reads a verdict that is under seal and gets a seal of its
own; it judges nothing, so it makes no look.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tessera.bundles import manifest
from tessera.platform.release import bundles, floors, looks, seals
from tessera.platform.release.judged import champion_hash, judged, require_same
from tessera.platform.release.revision import git_revision
from tessera.platform.release.served_log import Log, read_log
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import PAGE_SEAL, SEAL, Stage, stages
from tessera.platform.workspace.params import Sections, source_of
from tessera.platform.workspace.paths import Workspace

Made = Mapping[str, Path]
_ONLY_TOLD = "ranking"
"""What a verdict repeats where it has nothing of its own to say."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What is told to a stage, and what is done with what it made before that becomes visible."""

    standing: dict[str, Any] | None = None
    close: Callable[[Made], None] = lambda _: None


@contextmanager
def watch(stage: Stage, workspace: Workspace, params: Sections) -> Iterator[Watch]:
    """Stand beside a stage while it runs.

    Raises
    ------
    GateClosed
        If a stage would pack what its verdict did not judge.
    BrokenBundle, BrokenSeal, BrokenHistory
        If verdict, key or ledger are not what was left here.
    """
    if stage.judges:
        with _judging(stage, workspace, params) as found:
            yield found
    elif stage.draws:
        yield _drawing(workspace)
    elif stage.packs:
        yield _packing(stage, workspace, params)
    else:
        yield Watch()


@contextmanager
def _judging(stage: Stage, workspace: Workspace, params: Sections) -> Iterator[Watch]:
    ope = params[stage.name].model_dump(mode="json")
    with looks.one_judge(workspace):
        floors.pin(workspace, ope)
        log = read_log(
            workspace.artifact("exposures"), workspace.artifact("outcomes"), ope["window_days"]
        )
        about = judged(stage, workspace, params)
        against = champion_hash(workspace.artifact("champion"))
        asked = looks.identity(about["cut"], ope, about["artifacts"]["model"], against)
        inputs = _hash_inputs(about["artifacts"])
        candidate = looks.counted_as(workspace, asked, log, inputs)
        stands = looks.stand(workspace, log, candidate, floors.pinned(workspace)["alpha"])
        told = {
            "profile": workspace.profile,
            "candidate": candidate,
            "look": stands.told,
            "judged": about,
            "loosened": floors.loosened(workspace, ope),
        }
        known = {"asked": asked, "inputs": inputs}
        yield Watch(told, lambda made: _close_verdict(workspace, log, stands, known, made))


def _hash_inputs(artifacts: Mapping[str, str]) -> str:
    """Hash what a candidate is judged by; figures that are only told beside make no other one."""
    weighed = {name: digest for name, digest in artifacts.items() if name != _ONLY_TOLD}
    return hashlib.sha256(json.dumps(weighed, sort_keys=True).encode()).hexdigest()


def _close_verdict(
    workspace: Workspace, log: Log, stands: looks.Stands, known: Mapping[str, str], made: Made
) -> None:
    """Write down the look and seal the verdict."""
    verdict = files.read_json(made["verdict"])
    # Nobody could choose by a verdict that shows no estimates.
    if verdict.get("candidate") and not stands.known:
        facts = {
            "candidate": verdict["candidate"],
            "decision": verdict["decision"],
            "verdict_sha256": files.sha256(made["verdict"]),
            **known,
        }
        looks.record(workspace, stands, log, facts)
    files.write_json(
        bundles.seal_verdict(workspace, made["verdict"], _revision(workspace)), made[SEAL]
    )
    bundles.drop_page_of_another(workspace, made["verdict"])


def _revision(workspace: Workspace) -> dict[str, str]:
    return {"git_revision": git_revision(workspace.root)}


def _drawing(workspace: Workspace) -> Watch:
    seals.require_key(workspace)
    bundles.checked_verdict(workspace, workspace.artifact("verdict"))
    return Watch(close=lambda made: _close_page(workspace, made))


def _close_page(workspace: Workspace, made: Made) -> None:
    drawn = workspace.artifact("verdict"), made["verdict_page"]
    sealed = bundles.seal_page(workspace, *drawn, _revision(workspace))
    files.write_json(sealed, made[PAGE_SEAL])


def _packing(stage: Stage, workspace: Workspace, params: Sections) -> Watch:
    among = stages(source_of(workspace))
    judge = next(other for other in among if other.judges)
    seals.require_key(workspace)
    told = bundles.checked_verdict(workspace, workspace.artifact("verdict"))
    require_same(stage, judge, workspace, params, told.get("judged") or {})
    return Watch(close=lambda made: _close_bundle(workspace, made["bundle"]))


def _close_bundle(workspace: Workspace, bundle: Path) -> None:
    sealed = manifest.read_manifest(bundle)
    facts = {name: sealed[name] for name in ("kind", "judged_against")}
    bundles.seal(workspace, bundle, facts)
    bundles.checked(workspace, bundle)
