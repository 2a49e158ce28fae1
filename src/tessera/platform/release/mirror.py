"""A workspace that follows the registry of another machine: what is published there lies here too.

`TESSERA_PUBLISHED` says where it can be had, and `TESSERA_PUBLISHED_KEY` holds the public key of
the registry that publishes.  A mirror believes nothing of the place: what was not signed with that
key, does not match its hash, or is older than what was here already, is refused, and what is here
stays.  Steps are those of an act: a bundle is made aside, checked whole, synced and renamed, then
`registry/<profile>/current.json`, which readers follow as ever, is replaced by the new notice.
"""

from __future__ import annotations

import fcntl
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tessera.bundles import manifest
from tessera.contracts.errors import (
    BadParams,
    BrokenBundle,
    BrokenSeal,
    GateClosed,
    TesseraError,
)
from tessera.platform.release import bundles, notice, seals
from tessera.platform.release.history import chain
from tessera.platform.release.notice import Notice
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import MIRROR_KEY, PUBLISHED, Workspace
from tessera.platform.workspace.store import Store

_REMEDY = "remove it there, and `tessera doctor --repair` beside the registry lays it there again"


class NotBeside(TesseraError):
    """One that is wanted beside the current version cannot be brought; the current one is here."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """What one workspace has of what another registry published."""

    workspace: Workspace
    store: Store
    """Of the profile; it is only read."""

    def fetch(self, beside: Collection[str] = ()) -> Notice:
        """Bring what is published now; what is here already is not brought again.

        Parameters
        ----------
        beside : Collection[str]
            Versions that are wanted beside the current one, if they were published.

        Raises
        ------
        GateClosed
            If nothing is published there.
        BrokenBundle
            If what lies there is not what the registry published, or older than what is here:
            nothing has changed then.
        NotBeside
            If one that is wanted beside cannot be brought: the current one is here then.
        TesseraError
            If the store cannot be read.
        """
        with self._alone():
            told = self._told()
            self._bring(told, str(told["version"]))
            for left in self.workspace.bundles.glob(".*.making"):  # of a try that was killed
                files.remove(left)
            pointer, content = self.workspace.registry / notice.NAME, notice.written(told)
            if not pointer.exists() or pointer.read_bytes() != content:
                files.write_bytes(content, pointer)
            for version in sorted(set(beside) & set(told["versions"])):
                try:
                    self._bring(told, version)
                except TesseraError as error:
                    raise NotBeside(f"{version} stands beside nothing: {error}") from error
            return told

    def fault(self) -> str | None:
        """Return how what is here differs from what is published; None if it does not.

        Raises
        ------
        GateClosed, BrokenBundle, TesseraError
            As `fetch` does.
        """
        told, here = self._told(), local(self.workspace)
        if here is not None and here["n"] == told["n"]:
            return None
        known = f"act {here['n']}" if here else "none"
        return (
            f"{self._where} tells of act {told['n']}, and {known} is known here: run `tessera "
            f"fetch --profile {self.workspace.profile}`, or `tessera serve`, which follows"
        )

    def mend(self) -> None:
        """Let go of a current bundle that is not whole, so that it is brought again."""
        with self._alone():
            told = local(self.workspace)
            if told is None:
                return
            bundle = self.workspace.bundles / str(told["version"])
            try:
                bundles.checked(self.workspace, bundle)
            except BrokenBundle:
                files.remove(bundle)

    @property
    def _where(self) -> str:
        return f"{self.store.address}/{notice.NAME}"

    def _told(self) -> Notice:
        """Read what is published, refusing what the registry said before what is here already."""
        found = self.store.get(notice.NAME)
        if found is None:
            raise GateClosed(
                f"nothing is published at {self.store.address}: publish with {PUBLISHED} set, or "
                "set it to where that is done"
            )
        told = notice.checked(self.workspace, found.content, self._where)
        here = local(self.workspace)
        if here is not None and told["n"] < here["n"]:
            raise BrokenBundle(
                f"{self._where} tells of act {told['n']}, and act {here['n']} is known here: "
                f"somebody put an older one back, or publishes from an older copy of the registry; "
                f"{here['version']} stays"
            )
        return told

    def _bring(self, told: Notice, version: str) -> None:
        """Lay a version among the bundles, unless it lies there."""
        named, final = told["versions"][version], self.workspace.bundles / version
        sealed = final / manifest.MANIFEST
        if sealed.is_file() and files.sha256(sealed) == named[manifest.MANIFEST]:
            return
        aside = self.workspace.bundles / f".{version}.making"
        self._download(named[manifest.MANIFEST], aside / manifest.MANIFEST, version)
        listed = notice.listed(told, version, manifest.read_manifest(aside))
        for name, digest in listed.items():
            self._download(digest, aside / name, version)
        for path in [path for path in aside.rglob("*") if path.is_file()]:
            if path.relative_to(aside).as_posix() not in listed:  # half of one, of a killed try
                files.remove(path)
        try:
            if bundles.checked(self.workspace, aside)["identity"] != named["identity"]:
                raise BrokenBundle(f"{version} is not the bundle that {self._where} names")
        except BrokenBundle:
            files.remove(aside)
            raise
        files.move_into_place(aside, final)

    def _download(self, digest: str, path: Path, version: str) -> None:
        """Fetch a file by its hash; one that a former try left whole is kept."""
        if path.is_file() and files.sha256(path) == digest:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        where = f"{self.store.address}/{notice.place(digest)} ({path.name} of {version})"
        if not self.store.download(notice.place(digest), path):
            raise BrokenBundle(f"{where} is missing: {_REMEDY}")
        if files.sha256(path) != digest:
            files.remove(path)
            raise BrokenBundle(f"{where} is not what its name says: {_REMEDY}")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.workspace.registry.mkdir(parents=True, exist_ok=True)
        # Opened to append: readers take a file that was written for one to check again.
        with (self.workspace.registry / ".mirror.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def open_mirror(workspace: Workspace) -> Mirror:
    """Return the mirror that a workspace is; nothing is asked yet.

    Raises
    ------
    BadParams
        If it is none: a setting is missing, or acts were done here.
    BrokenSeal
        If the key is none.
    """
    store = workspace.published
    if store is None or not workspace.is_mirror:
        raise BadParams(
            f"set {PUBLISHED} to where another registry publishes, and {MIRROR_KEY} to what its "
            f"registry/{seals.PUBLIC} holds"
        )
    seals.mirror_key()
    if chain(workspace).file.exists():
        raise BadParams(
            f"registry/{workspace.profile} has acts of its own, which a mirror has not: unset "
            f"{MIRROR_KEY} here, or follow in another clone"
        )
    return Mirror(workspace, store.below(workspace.profile))


def local(workspace: Workspace) -> Notice | None:
    """Return the notice that a mirror follows now; None if there is none of the registry it is of.

    A notice by another key was of another registry: its acts count otherwise.
    """
    try:
        content = (workspace.registry / notice.NAME).read_bytes()
        return notice.checked(workspace, content, notice.NAME)
    except (FileNotFoundError, BrokenBundle, BrokenSeal):
        return None
