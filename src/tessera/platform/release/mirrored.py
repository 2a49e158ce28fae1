"""What a service of a mirror asks instead of a registry, and the thread that keeps it up to date.

What it reads of the notice: which version is current, whether slates are drawn, which versions may
stand beside it, which canaries were ended.  It writes no act: that a canary begins here is a line
of its log, and that one ends is kept here alone.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera.contracts.errors import BadParams, BrokenBundle, BrokenSeal, TesseraError
from tessera.platform.release import bundles
from tessera.platform.release.mirror import Mirror, NotBeside, local, open_mirror
from tessera.platform.release.notice import Notice
from tessera.platform.release.pointer import Watched
from tessera.platform.release.trials import Trials
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace

if TYPE_CHECKING:  # torch takes seconds
    from tessera.serve.challengers import Challenger, Challengers, Registry, Role
    from tessera.serve.params import ServeParams

_LOG = logging.getLogger("tessera.serve")
_LOOK_S = 1.0
"""How often it is asked what is published, as the service looks into a registry."""
_LONGEST_S = 60.0
"""Between two tries, after several that failed."""
_FAULT, _ENDED = "mirror.json", "ended.json"


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A notice as a service follows it: a `tessera.serve` Registry."""

    workspace: Workspace
    params: ServeParams

    def challengers(self) -> Challengers:
        """Return what the params of this machine want, but for a canary that ended."""
        from tessera.serve.challengers import Challengers, Unfound

        told = self._notice()
        found: dict[Role, Challenger] = {}
        unfound: dict[Role, Unfound] = {}
        named: dict[Role, str | None] = {"canary": self.params.canary, "shadow": self.params.shadow}
        for role, name in named.items():
            try:
                if name is not None:
                    found[role] = self._challenger(told, name)
            except (BadParams, BrokenBundle) as error:
                unfound[role] = Unfound(name or "", error)
        canary = found.get("canary")
        if canary is not None and canary.identity in {*told["ended"], *self._ended()}:
            canary = None
        return Challengers(canary, self.params.canary_share, found.get("shadow"), unfound)

    def explores(self) -> bool:
        """Return whether slates are to be drawn, as the registry says."""
        return bool(self._notice()["explores"])

    def began(self, role: Role, challenger: Challenger) -> None:
        """Say that a bundle begins to be tried."""
        _LOG.info("%s begins as %s", challenger.version, role)

    def ended(self, canary: Challenger, reason: str) -> None:
        """Remember that a canary was ended here: it is not tried on this machine again."""
        _LOG.info("canary %s is not tried here again: %s", canary.version, reason)
        known = self._ended()
        if canary.identity not in known:
            files.write_json([*known, canary.identity], self.workspace.registry / _ENDED)

    def _notice(self) -> Notice:
        told = local(self.workspace)
        if told is None:
            raise BrokenBundle("nothing that the registry said is here: run `tessera fetch`")
        return told

    def _ended(self) -> list[str]:
        told = _read_kept(self.workspace, _ENDED)
        return [str(one) for one in told] if isinstance(told, list) else []

    def _challenger(self, told: Notice, name: str) -> Challenger:
        from tessera.serve.challengers import Challenger

        if name not in told["versions"]:
            raise BadParams(
                f"{name!r} was not published where this mirror reads: choose one of "
                f"{', '.join(told['versions'])}; a candidate is tried beside its registry alone"
            )
        path, identity = self.workspace.bundles / name, str(told["versions"][name]["identity"])
        if not path.exists():
            raise BrokenBundle(f"{name} is not here yet: it is brought, or the log says why not")

        def check() -> None:
            if bundles.checked(self.workspace, path)["identity"] != identity:
                raise BrokenBundle(f"{name} is not what was published: run `tessera fetch`")

        return Challenger(path, name, identity, check)


@dataclass(slots=True)
class Followed:
    """The current bundle of a mirror for a service, which goes on where another one is refused."""

    workspace: Workspace
    _watched: Watched = field(init=False)
    _begun: bool = False

    def __post_init__(self) -> None:
        """Look where readers look."""
        self._watched = Watched(self.workspace)

    def __call__(self) -> Path:
        """Return what is current here, or say why what is published cannot be.

        Raises
        ------
        BrokenBundle
            If what lies there was refused; not before something is served.
        GateClosed, BrokenBundle, BrokenSeal
            As `pointer.current_bundle` does.
        """
        refused = _read_fault(self.workspace)
        if refused and self._begun:
            raise BrokenBundle(refused)
        found = self._watched()
        self._begun = True
        return found


class Keeping:
    """Brings what is published, for as long as it runs; what failed is tried again, ever later."""

    def __init__(self, mirror: Mirror, beside: tuple[str, ...]) -> None:
        """Bring the current version, and these."""
        self._mirror, self._beside = mirror, beside
        self._said, self._wait_s = "", _LOOK_S
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="mirror", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End it, but for what is being brought: that may take long, and is safe to leave."""
        self._stopped.set()
        self._thread.join(_LOOK_S)

    def look(self) -> bool:
        """Bring what is published now; tell whether that was possible.  A fault is said once."""
        said = ""
        try:
            self._fetch()
        except Exception as error:  # a server, a disk: whatever it is, what is here goes on
            said = " ".join(str(error).split())
        if said and said != self._said:
            _LOG.error("what is published cannot be brought: %s", said)
        self._said = said
        return not said

    def _fetch(self) -> None:
        """Bring it, and keep for the service what was refused, or that nothing is."""
        try:
            self._mirror.fetch(self._beside)
        except (BrokenBundle, BrokenSeal) as error:
            _note_fault(self._mirror.workspace, " ".join(str(error).split()))
            raise
        except NotBeside:
            _note_fault(self._mirror.workspace, "")
            raise
        _note_fault(self._mirror.workspace, "")

    def _keep(self) -> None:
        while not self._stopped.wait(self._wait_s):
            self._wait_s = _LOOK_S if self.look() else min(2 * self._wait_s, _LONGEST_S)


@contextmanager
def kept_up(workspace: Workspace, params: ServeParams) -> Iterator[None]:
    """Bring what is published inside the block, if this is a mirror; before it begins, once.

    Raises
    ------
    TesseraError
        If nothing can be brought and nothing is here from before.
    """
    if not workspace.is_mirror:
        yield
        return
    mirror = open_mirror(workspace)
    beside = tuple(name for name in (params.canary, params.shadow) if name)
    mirror.mend()
    try:
        mirror.fetch(beside)
        _note_fault(workspace, "")  # of a service before this one
    except (TesseraError, OSError) as error:
        if local(workspace) is None:
            raise
        _LOG.error("what is published cannot be brought, what is here goes on: %s", error)
    keeping = Keeping(mirror, beside)
    keeping.start()
    try:
        yield
    finally:
        keeping.stop()


def followed(workspace: Workspace) -> Callable[[], Path]:
    """Return what says to a service which bundle is current here, or in a mirror."""
    return Followed(workspace) if workspace.is_mirror else Watched(workspace)


def registry_of(workspace: Workspace, params: ServeParams) -> Registry:
    """Return what a service asks: the registry here, or what a mirror has of another."""
    return Mirrored(workspace, params) if workspace.is_mirror else Trials(workspace, params)


def _note_fault(workspace: Workspace, said: str) -> None:
    if said != _read_fault(workspace):
        files.write_json({"refused": said}, workspace.registry / _FAULT)


def _read_fault(workspace: Workspace) -> str:
    told = _read_kept(workspace, _FAULT)
    return str(told.get("refused", "")) if isinstance(told, dict) else ""


def _read_kept(workspace: Workspace, name: str) -> Any:
    """Read what this machine kept for itself; nothing where it is torn or gone."""
    try:
        return json.loads((workspace.registry / name).read_bytes())
    except (OSError, ValueError):
        return None
