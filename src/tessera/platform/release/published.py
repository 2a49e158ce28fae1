"""What is published can be had elsewhere, and of two publishers one wins.

`TESSERA_PUBLISHED` names a folder or an object store.  An act that moves the pointer lays the files
of its bundle there first, then replaces the notice (`notice.py`) on the condition that it still is
the one which this registry wrote: that is where the act is won or lost, before anything here has
moved.  Acts that move nothing wait for no server: where it cannot be told, a later act tells it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from tessera.bundles import manifest
from tessera.contracts.errors import BrokenBundle, GateClosed, TesseraError
from tessera.platform.release import notice, seals
from tessera.platform.release.chain import digest, parsed
from tessera.platform.release.history import chain, moves, telling
from tessera.platform.release.notice import Notice
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import PUBLISHED, Workspace
from tessera.platform.workspace.store import Store, Stored
from tessera.platform.workspace.stores import require_store


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Where what is published of a profile can be had, seen from its registry."""

    workspace: Workspace
    store: Store
    """Of the profile."""

    def prepare(self, line: str) -> Notice:
        """Lay the files of what becomes current there; return what is told once the act is won.

        Parameters
        ----------
        line : str
            Entry of an act that moves the pointer.

        Raises
        ------
        GateClosed
            If another registry publishes there, or another copy of this one.
        BrokenBundle
            If a file does not match the manifest.
        TesseraError
            If the store cannot be written.
        """
        self._ours(self.store.get(notice.NAME))
        made = notice.make(self.workspace, [*chain(self.workspace).lines(), line])
        self._lay(made)
        return made

    def win(self, made: Notice) -> None:
        """Replace the notice, unless that was done already.

        Raises
        ------
        GateClosed
            If somebody else published there.
        TesseraError
            If nobody knows whether it was written, since the server does not answer.
        """
        content, seen = notice.written(made), self.store.get(notice.NAME)
        if seen is not None and seen.content == content:
            return
        if not self.store.replace(notice.NAME, content, self._ours(seen)):
            raise GateClosed(
                f"somebody else published to {self.store.address} at the same time and was first, "
                "so nothing has changed here: see what they published, then judge yours again"
            )

    def keep_up(self) -> None:
        """Tell what the newest act left, and lay its bundle there, as far as that is not done.

        Raises
        ------
        TesseraError
            As `prepare` and `win` do.
        """
        wanted = self._wanted()
        if wanted is None:
            return
        self._lay(wanted)
        self.win(wanted)

    def fault(self) -> str | None:
        """Return how what can be had there differs from what is current; None if it does not.

        Raises
        ------
        TesseraError
            If the store cannot be used, or somebody else publishes there.
        """
        wanted = self._wanted()
        if wanted is None:
            self._ours(self.store.get(notice.NAME))
            return None
        if behind := self._behind(wanted):
            return behind
        found = self._files(wanted)
        lost = [told for told, path in found if self._lacks(told, path.stat().st_size)]
        return f"{len(lost)} files of {wanted['version']} are not whole there" if lost else None

    def _wanted(self) -> Notice | None:
        """Return what is to be told now; None before the first publication."""
        lines = chain(self.workspace).lines()
        acts = [parsed(line) for line in lines]
        if not moves(acts):
            return None
        last = max(at for at, act in enumerate(acts) if telling(act))
        return notice.make(self.workspace, lines[: last + 1])

    def _behind(self, wanted: Notice) -> str | None:
        seen = self._ours(self.store.get(notice.NAME))
        if seen is not None and seen.content == notice.written(wanted):
            return None
        told = notice.read(seen.content) if seen else {}
        return (
            f"{self.store.address} tells of {told.get('version', 'nothing')} after act "
            f"{told.get('n', 0)}, and {wanted['version']} is current after act {wanted['n']}"
        )

    def _ours(self, seen: Stored | None) -> Stored | None:
        """Return a notice as it was seen, refusing one that this history did not lead to."""
        if seen is None:
            return None
        told, where = notice.read(seen.content), f"{self.store.address}/{notice.NAME}"
        if seals.fault(self.workspace, notice.PURPOSE, told):
            raise GateClosed(
                f"{where} is not what this registry put there, so somebody else publishes there: "
                f"set {PUBLISHED} to a place of your own, or remove that file to take theirs"
            )
        lines = chain(self.workspace).lines()
        if told["n"] > len(lines) or digest(lines[told["n"] - 1]) != told["line"]:
            raise GateClosed(
                f"{where} tells of act {told['n']}, which is not in this history, so another copy "
                "of this registry publishes there: go on in that one, or bring its registry/"
                f"{self.workspace.profile} here; if there is none, remove that file"
            )
        return seen

    def _lay(self, made: Notice) -> None:
        """Lay the files of a bundle under their hashes; what is there already is not sent again."""
        for told, path in self._files(made):
            if not path.is_file() or files.sha256(path) != told:
                raise BrokenBundle(
                    f"{made['version']}: {path.name} does not match the manifest: publish again or "
                    "roll back"
                )
            if self._lacks(told, path.stat().st_size):
                self.store.upload(path, notice.place(told))

    def _lacks(self, told: str, size: int) -> bool:
        return self.store.size(notice.place(told)) != size

    def _files(self, made: Notice) -> list[tuple[str, Path]]:
        """Pair each hash of a bundle with the file that has it here."""
        version = str(made["version"])
        bundle = notice.bundle_of(self.workspace, version)
        listed = notice.listed(made, version, manifest.read_manifest(bundle))
        return [(told, bundle / name) for name, told in listed.items()]


def elsewhere(workspace: Workspace) -> Elsewhere | None:
    """Return where what is published is to be had beside this registry; None if nowhere.

    Raises
    ------
    BadParams
        If that is no address.
    """
    store = workspace.published
    return None if store is None else Elsewhere(workspace, store.below(workspace.profile))


def require_place(workspace: Workspace) -> Elsewhere | None:
    """Do as `elsewhere`, and refuse a place where an act could not be won.

    Raises
    ------
    BadParams
        If it is no address, cannot be written, or keeps no conditions.
    """
    store = workspace.published
    if store is None:
        return None
    require_store(store, PUBLISHED)
    return Elsewhere(workspace, store.below(workspace.profile))


def prepared(workspace: Workspace, line: str) -> dict[str, Notice]:
    """Return what an intent to move the pointer holds beside: nothing if nothing is had elsewhere.

    Raises
    ------
    TesseraError
        As `require_place` and `Elsewhere.prepare` do.
    """
    place = require_place(workspace)
    return {} if place is None else {"notice": place.prepare(line)}


def win(workspace: Workspace, intent: Mapping[str, Any]) -> None:
    """Tell what an intent holds; where the setting was taken away since, it counts here alone.

    Raises
    ------
    GateClosed
        If somebody else was first.
    TesseraError
        If nobody knows whether it was told.
    """
    place = elsewhere(workspace) if "notice" in intent else None
    if place is None:
        return
    try:
        place.win(intent["notice"])
    except GateClosed:
        raise
    except TesseraError as error:
        raise TesseraError(
            f"{error}; whether the act was told is not known, and the next one asks again "
            f"(without {PUBLISHED} it is done here alone)"
        ) from error


def tell(workspace: Workspace) -> None:
    """Let an act that moved nothing be known, with a warning where that cannot be."""
    try:
        if place := require_place(workspace):
            place.keep_up()
    except TesseraError as error:
        told = " ".join(str(error).split())
        typer.echo(f"warning: {PUBLISHED} stays behind ({told}): the next act tells it", err=True)
