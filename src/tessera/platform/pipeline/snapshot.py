"""Pin the state that a run reads, so that its stages stay pure and a second run does nothing.

The pins move only when something else that the run depends on has moved (params, code, source,
cut).  Otherwise a promotion would by itself make every stage that saw the old champion run again.
A person who brings an older champion back moves them too, unless it is the one that is pinned.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tessera
from tessera.contracts.cut import parse_cut
from tessera.contracts.errors import BadInput, BadParams
from tessera.contracts.split import load_split
from tessera.platform.release import bundles, pointer, registry
from tessera.platform.release.history import history, moves, returned
from tessera.platform.release.journal import at_rest, require_whole
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import ALL_STAGES, MARKET, PINS, aside
from tessera.platform.workspace.params import read_yaml, reads_served, source_of
from tessera.platform.workspace.paths import Workspace
from tessera.platform.workspace.records import begin_run
from tessera.shared.policies.serving import FILE as POLICY

_APART = ("platform", "serve", *(f"stages/{name}" for name in aside(ALL_STAGES)))
"""Folders of code that no verdict is about: an edit there is no reason to judge anything again."""


def snapshot(workspace: Workspace, cut: str | None = None, source: Path | None = None) -> bool:
    """Pin request, champion and ledger; return whether the pins moved.

    Raises
    ------
    BadParams
        If the cut is not a date.
    BadInput
        If the source needs a folder and none was named, or it does not exist.
    BrokenHistory
        If the state to be pinned is not what the acts left: better said before the stages run.
    """
    with at_rest(workspace):
        require_whole(workspace)
    asked = _iso(cut)
    begin_run(workspace)
    _link_source(workspace, source)
    marker = workspace.data / ".pins.json"
    log = _staged_log(workspace)
    fingerprint = _fingerprint(workspace, asked, log)
    pinned = all(workspace.artifact(name).exists() for name in PINS)
    before = files.read_json(marker) if marker.exists() else {}
    known = pinned and before.get("fingerprint") == fingerprint
    if known and not _was_withdrawn(workspace):
        return False
    request, listed = workspace.artifact("request"), _listing(workspace.artifact("source"))
    half = _half(workspace, log, _pin_champion(workspace))
    files.write_json(_request(asked, listed, before, request) | half, request)
    files.move_into_place(_staging(workspace, "served"), workspace.artifact("served"))
    _pin_ledger(workspace)
    files.write_json({"fingerprint": fingerprint, "source": listed}, marker)
    return True


def _iso(cut: str | None) -> str | None:
    if not cut:
        return None
    try:
        return str(parse_cut(cut))
    except ValueError as error:
        raise BadParams(f"cut {cut!r} is not a date: write it like 2021-07-01") from error


def _request(cut: str | None, listed: Any, before: dict[str, Any], written: Path) -> Any:
    """Return what is asked of a run, with the day on which its files were first met.

    Files that did not change can hold nothing of a later day, so experiments on them read the same
    request; the simulated market has days of its own.
    """
    if listed is None:
        return {"cut": cut}
    told = files.read_json(written) if written.exists() else {}
    if before.get("source") != listed or not told.get("today"):
        told["today"] = datetime.now(UTC).date().isoformat()
    return {"cut": cut, "today": told["today"]}


def _listing(source: Path) -> list[list[Any]] | None:
    """Name, size and time of each file of a folder that a person named; None of the market."""
    if not source.is_symlink():
        return None
    found = ((path, path.stat()) for path in sorted(source.rglob("*")) if path.exists())
    return [
        [path.relative_to(source).as_posix(), stat.st_size, stat.st_mtime_ns]
        for path, stat in found
    ]


def _link_source(workspace: Workspace, folder: Path | None) -> None:
    """Let data/<profile>/source point to the folder that a person named."""
    if source_of(workspace) == MARKET:
        return
    link = workspace.artifact("source")
    if folder is None and link.exists():
        return
    if folder is None:
        raise BadInput(
            f"profile {workspace.profile} needs its files: "
            f"make run PROFILE={workspace.profile} DATA=<folder with the official files>"
        )
    if not folder.is_dir():
        raise BadInput(f"no folder {folder}: name the folder with the official files as DATA")
    link.parent.mkdir(parents=True, exist_ok=True)
    aside = link.with_name(".source.making")
    aside.unlink(missing_ok=True)
    aside.symlink_to(folder.resolve(), target_is_directory=True)
    aside.replace(link)


def _fingerprint(workspace: Workspace, cut: str | None, log: Any) -> str:
    seen: dict[str, Any] = {"cut": cut, "params": read_yaml(workspace), "code": _code_hash()}
    for section in ("gate", "serve", *aside(ALL_STAGES)):  # no verdict depends on them
        seen["params"].pop(section, None)
    if log:
        seen["served"] = log
    if reads_served(workspace):  # who was erased since may not be learnt from again
        from tessera.serve.erased import Erased

        seen["erased"] = Erased(workspace.served).mark
    if listed := _listing(workspace.artifact("source")):
        seen["source"] = listed
    text = json.dumps(seen, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _code_hash() -> str:
    package = Path(tessera.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        if not any(path.is_relative_to(package / folder) for folder in _APART):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _was_withdrawn(workspace: Workspace) -> bool:
    """Whether an older champion came back since the pins were made: a verdict must meet that one.

    A run that was judged against the very version that came back stays as it is, so that what was
    rolled back is not proposed again.  What a registry that was moved away had published is
    withdrawn too.
    """
    pinned = files.read_json(workspace.artifact("champion") / "champion.json")["version"]
    entries = history(workspace)
    if pinned not in {None, registry.FIRST, *(entry.get("to") for entry in moves(entries))}:
        return True
    return returned(entries) and pinned != pointer.current_version(workspace)


def _staging(workspace: Workspace, name: str) -> Path:
    return workspace.data / ".staging" / name


def _staged_log(workspace: Workspace) -> dict[str, Any]:
    """Write what the service logged until now aside, if this profile reads it, and say what it is.

    Equal rows give equal bytes, whether they were sealed meanwhile or not.
    """
    aside = _staging(workspace, "served")
    files.remove(aside)
    aside.mkdir(parents=True)
    told: dict[str, Any] = {}
    if reads_served(workspace):
        from tessera.serve.whole_log import write_log

        told = write_log(workspace.served, aside)
    if not told:
        (aside / "empty.json").write_text("{}\n")
    return told


def _half(workspace: Workspace, log: dict[str, Any], learnt_until: str | None) -> dict[str, Any]:
    """Tell when half of what was served had come, and what the published model has learnt from."""
    if not log:
        return {}
    from tessera.serve.whole_log import middle

    half = middle(_staging(workspace, "served"))
    return {"served": {"middle": half and half.isoformat(), "learnt_until": learnt_until}}


def _pin_champion(workspace: Workspace) -> str | None:
    """Pin what is published; return what it has learnt from, if that is known."""
    aside = _staging(workspace, "champion")
    files.remove(aside)
    aside.mkdir(parents=True)
    version, learnt_until = pointer.current_version(workspace), None
    kind = "logging" if source_of(workspace) == MARKET else "none"
    if version is None:
        version = registry.FIRST if kind == "logging" else None
    else:
        bundle = pointer.current_bundle(workspace)
        if (bundle / "model").is_dir():
            kind = "model"
            if (bundle / "split.json").exists():
                learnt_until = load_split(bundle / "split.json").cut.isoformat()
            shutil.copytree(bundle / "model", aside / "model")
            _pin_facts(bundle, aside)
            if (bundle / POLICY).exists():
                shutil.copyfile(bundle / POLICY, aside / POLICY)
    champion = {"version": version, "kind": kind, "learnt_until": learnt_until}
    files.write_json(champion, aside / "champion.json")
    files.move_into_place(aside, workspace.artifact("champion"))
    return learnt_until


def _pin_facts(bundle: Path, folder: Path) -> None:
    """Pin what the published model answers from, or it would be judged by the codes of a run."""
    from tessera.model.sequences.fact_tables import has_facts, pin_standing

    if has_facts(bundle / "facts"):
        pin_standing(bundle / "facts", folder / "facts")


def _pin_ledger(workspace: Workspace) -> None:
    aside = _staging(workspace, "ledger_in")
    files.remove(aside)
    newest = registry.newest_bundle(workspace)
    if newest is None:
        aside.mkdir(parents=True)
        (aside / "empty.json").write_text("{}\n")
    else:
        bundles.checked(workspace, newest)
        shutil.copytree(newest / "ledger", aside)
    files.move_into_place(aside, workspace.artifact("ledger_in"))
