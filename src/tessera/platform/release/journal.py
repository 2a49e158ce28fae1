"""Pointer, MLflow's alias and history move together: an act that was killed half-way is completed.

An act writes down what it is about to do (`act.json`) before it changes anything; from then on it
will be done, by this process or by the next act.  Before that nothing has changed, and what was
made aside is thrown away.  Each step may be done twice:

1. readers elsewhere are told, if `TESSERA_PUBLISHED` says where (`published.py`): here an act that
   moves the pointer is lost where somebody else was first, and undone,
2. `bundles/.<version>.making` gets its name,
3. `current.json` points to it,
4. MLflow's alias `champion` follows,
5. the history gets its line and its head,
6. `act.json` goes.

The registry is the truth.  If MLflow cannot be told, the act stands with a warning; every later act
tells it again, and `tessera doctor` says that the alias is behind.
"""

from __future__ import annotations

import fcntl
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import typer

from tessera.bundles import manifest
from tessera.contracts.errors import (
    BrokenBundle,
    BrokenHistory,
    BrokenStore,
    GateClosed,
    TesseraError,
)
from tessera.platform.release import bundles, notice, published, seals
from tessera.platform.release.chain import NOTHING, digest, parsed, read_state
from tessera.platform.release.history import anchor, chain, history, moves, telling
from tessera.platform.tracking import tracking
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import MIRROR_KEY, Workspace

INTENT = "act.json"
POINTER = "current.json"
_PURPOSE = "act"
"""Purpose of the seal of an intent: what stands there is done and recorded by the next act."""


@contextmanager
def one_act(workspace: Workspace) -> Iterator[None]:
    """Let one act at a time change the state of a profile, from a state that is whole.

    Raises
    ------
    BrokenHistory
        If the history or the pointer is not what the acts wrote: nothing may be added to it.
    BrokenSeal
        If the key of the registry is gone.
    GateClosed
        If the registry is elsewhere and this is its mirror.
    """
    _require_no_mirror(workspace)
    workspace.registry.mkdir(parents=True, exist_ok=True)
    seals.require_key(workspace)
    with (workspace.registry / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _repair(workspace)
        yield


@contextmanager
def at_rest(workspace: Workspace) -> Iterator[None]:
    """Let a reader of more than one file wait for the end of an act; it needs no right to write."""
    path = workspace.registry / ".lock"
    if not path.exists():
        yield
        return
    with path.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def commit(workspace: Workspace, facts: Mapping[str, Any], identity: str | None = None) -> None:
    """Do an act: move the pointer to the version `facts["to"]` if an identity is given; record it.

    Parameters
    ----------
    workspace : Workspace
        The profile, inside `one_act`.
    facts : Mapping[str, Any]
        What the entry of the history holds beside number, hash, moment and person.
    identity : str or None
        Identity of the bundle that becomes current, None if none does.

    Raises
    ------
    BrokenBundle
        If the bundle does not match its manifest; then nothing has changed.
    GateClosed
        If it is to be had elsewhere, and somebody else published there; nothing has changed.
    TesseraError
        If it is to be had elsewhere and cannot be laid there, and nothing has changed; or nobody
        knows whether it was told there, and the next act asks again.
    """
    pointer = {"version": facts["to"], "identity": identity} if identity else None
    anchored = {**facts, "looks": anchor(workspace)}
    if pointer and workspace.is_had_elsewhere:
        anchored["turn"] = secrets.token_hex(8)  # two copies that do the same are told apart
    intended: dict[str, Any] = {"line": chain(workspace).next_line(anchored), "pointer": pointer}
    if pointer:
        with _undone_by(TesseraError, workspace, pointer):
            intended |= published.prepared(workspace, intended["line"])
    intent = seals.seal(workspace, _PURPOSE, intended)
    files.write_json(intent, workspace.registry / INTENT)
    _finish(workspace, intent)
    if not pointer and telling(facts):
        published.tell(workspace)


def unfinished(workspace: Workspace) -> dict[str, Any] | None:
    """Return what an interrupted act was about to do, None if none was interrupted.

    Raises
    ------
    BrokenHistory
        If no act of this registry wrote it.
    """
    try:
        intent = read_state(workspace.registry / INTENT)
    except FileNotFoundError:  # asked of the file itself: an act may end between two questions
        return None
    wrong = seals.fault(workspace, _PURPOSE, intent)
    if wrong:
        raise BrokenHistory(
            f"{INTENT} of profile {workspace.profile} {wrong}; no act is possible: "
            f"move registry/{workspace.profile}/{INTENT} away"
        )
    return intent


def complete(workspace: Workspace) -> None:
    """Complete an act that was killed half-way, if there is one.

    Raises
    ------
    BrokenHistory
        If no act of this registry wrote it.
    """
    if unfinished(workspace):
        with one_act(workspace):
            pass


def made_current(workspace: Workspace, named: Mapping[str, Any]) -> bool:
    """Whether an act, done or interrupted, made current what a pointer names.

    A reader asks without a lock: the intent is read first, since it goes after the history has it.
    """
    intent = unfinished(workspace)
    if intent and intent["pointer"] == named:
        return True
    last = moves(history(workspace))[-1:]
    told = (named.get("version"), named.get("identity"))
    return bool(last) and (last[0].get("to"), last[0].get("identity")) == told


def state_fault(workspace: Workspace) -> str | None:
    """Return what is wrong with history and pointer, in words that follow "is"; None if nothing."""
    intent = unfinished(workspace)
    found = chain(workspace).fault(intent["line"] if intent else None)
    if intent and not found and not _is_next(workspace, str(intent["line"])):
        return f"broken at its end: {INTENT} is not what comes next, move it away"
    if found or intent:
        return found
    last = moves(history(workspace))[-1:]
    reached = last[0]["to"] if last else None
    named = read_state(workspace.registry / POINTER)["version"] if _has_pointer(workspace) else None
    if reached != named:
        return f"broken at its end: the last act made {reached} current, {POINTER} names {named}"
    return None


def alias_fault(workspace: Workspace) -> str | None:
    """Return how MLflow's alias differs from the pointer, None if it does not."""
    wanted = None
    if _has_pointer(workspace):
        named = read_state(workspace.registry / POINTER)
        sealed = manifest.read_manifest(workspace.bundles / named["version"])
        wanted = named["identity"] if sealed["kind"] == "model" else None
    found = tracking.champion_identity(workspace.profile, workspace.tracking)
    if found == wanted:
        return None
    return f"MLflow's alias names {(found or 'nothing')[:12]}, not {(wanted or 'nothing')[:12]}"


def require_whole(workspace: Workspace) -> None:
    """Refuse a state that no act has left; what a killed act left can be completed.

    Raises
    ------
    BrokenHistory
        If there is anything wrong with history or pointer.
    GateClosed
        If the registry is elsewhere and this is its mirror.
    """
    _require_no_mirror(workspace)
    found = state_fault(workspace)
    if found:
        raise BrokenHistory(
            f"the history of profile {workspace.profile} is {found}; no act is possible: "
            f"bring registry/{workspace.profile} back from a backup, or move it away to begin anew"
        )


def _require_no_mirror(workspace: Workspace) -> None:
    if workspace.is_mirror:
        raise GateClosed(
            f"{MIRROR_KEY} is set, so what is published here comes from another registry: do it "
            "there, or unset it"
        )


def _repair(workspace: Workspace) -> None:
    require_whole(workspace)
    intent = unfinished(workspace)
    if intent:
        try:
            _finish(workspace, intent)
        except BrokenBundle:  # it was undone
            pass
        except GateClosed as error:  # this too
            typer.echo(f"warning: an interrupted act is given up: {error}", err=True)
    for left in (
        *workspace.registry.glob("bundles/.*.making"),
        *workspace.registry.glob(".*.json.*"),
    ):
        files.remove(left)
    # What is wrong with a bundle, its readers say; a shared MLflow that is gone holds up no act.
    with suppress(BrokenBundle, BrokenStore):
        if alias_fault(workspace):
            _tell_mlflow(workspace)


def _finish(workspace: Workspace, intent: Mapping[str, Any]) -> None:
    pointer = intent["pointer"]
    if pointer:
        if not _has_moved(workspace, pointer):
            with _undone_by(BrokenBundle, workspace, pointer):
                _require_bundle(workspace, pointer)
            with _undone_by(GateClosed, workspace, pointer):
                published.win(workspace, intent)
        _name_bundle(workspace, str(pointer["version"]))
        files.write_json(pointer, workspace.registry / POINTER)
        _tell_mlflow(workspace)
    chain(workspace).append(intent["line"])
    _forget(workspace)


def _require_bundle(workspace: Workspace, pointer: Mapping[str, Any]) -> None:
    """Check what will become current."""
    version = str(pointer["version"])
    bundle = notice.bundle_of(workspace, version)
    if bundles.checked(workspace, bundle)["identity"] != pointer["identity"]:
        raise BrokenBundle(f"{version} is not what was published: restore it from a backup")


@contextmanager
def _undone_by(
    kind: type[TesseraError], workspace: Workspace, pointer: Mapping[str, Any]
) -> Iterator[None]:
    """Leave nothing of an act that has not moved the pointer, where such an error ends the block.

    A bundle that was current once stays.
    """
    try:
        yield
    except kind:
        version = str(pointer["version"])
        if version not in {entry["to"] for entry in moves(history(workspace))}:
            files.remove(notice.bundle_of(workspace, version))
        _forget(workspace)
        raise


def _has_moved(workspace: Workspace, pointer: Mapping[str, Any]) -> bool:
    return _has_pointer(workspace) and read_state(workspace.registry / POINTER) == pointer


def _name_bundle(workspace: Workspace, version: str) -> None:
    aside = workspace.bundles / f".{version}.making"
    if aside.exists():
        files.move_into_place(aside, workspace.bundles / version)


def _tell_mlflow(workspace: Workspace) -> None:
    bundle = None
    if _has_pointer(workspace):
        bundle = workspace.bundles / read_state(workspace.registry / POINTER)["version"]
    try:
        tracking.follow(workspace.profile, bundle, workspace.tracking)
    except Exception as error:
        why = " ".join(str(error).split())[:200]
        line = f"warning: MLflow's alias stays behind ({why}): the next act sets it"
        typer.echo(line, err=True)


def _is_next(workspace: Workspace, line: str) -> bool:
    """Whether a line follows the newest of the history, or is it already."""
    lines = chain(workspace).lines()
    if lines and lines[-1] == line:
        return True
    entry = parsed(line)
    follows = digest(lines[-1]) if lines else NOTHING
    return (entry.get("n"), entry.get("previous")) == (len(lines) + 1, follows)


def _forget(workspace: Workspace) -> None:
    files.remove(workspace.registry / INTENT)


def _has_pointer(workspace: Workspace) -> bool:
    return (workspace.registry / POINTER).exists()
