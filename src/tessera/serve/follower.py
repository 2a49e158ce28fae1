"""The service follows the registry; what cannot be served is refused, with an alarm."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from tessera.contracts.disk import marks
from tessera.contracts.errors import TesseraError
from tessera.serve import measures
from tessera.serve.challengers import Challenger, Challengers, Registry, Role
from tessera.serve.engine import Engine
from tessera.serve.fitness import require_fit, require_room
from tessera.serve.garbage import settle
from tessera.serve.guardrail import Guard
from tessera.serve.params import ServeParams
from tessera.serve.service import Refusal, Service

_LOG = logging.getLogger("tessera.serve")
_LOOK_S = 1.0
"""How often the registry is read."""
_UNREAD = "current"
"""Stands for a version that cannot even be read."""


class Follower:
    """Swaps bundles when others are wanted; one that cannot be served is refused."""

    def __init__(
        self,
        service: Service,
        current: Callable[[], Path],
        params: ServeParams,
        registry: Registry | None = None,
    ) -> None:
        """Follow what `current` names, after checking it, and what the registry wants beside."""
        self._service, self._current, self._params = service, current, params
        self._registry, self._guard = registry, Guard(service, params)
        self._broken: dict[Role, str] = {}
        """What cannot be served (the published one by its version, others by their identity):
        opening it again would cost seconds and change nothing."""
        self._damaged: dict[Role, object] = {}
        """Whose files are not what was sealed: they are hashed again when one is written."""
        self._ended: set[str] = set()
        """Identities that the guardrail ended, whether or not that could be recorded."""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        measures.note_process(self._service.engine.version)
        self._follow_exploration()
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stopped.set()
        self._thread.join()

    def look(self) -> bool:
        """Do what is wanted now; tell whether another bundle was published and is served."""
        name = _UNREAD
        swapped = False
        try:
            bundle = self._current()
            name = bundle.name
            swapped = self._follow_pointer(bundle)
        except Exception as error:  # whatever it is, the old bundle goes on answering
            self._refuse("current", name, error)
        self._follow_exploration()
        if self._registry is not None:
            self._follow_challengers(self._registry)
        measures.note_process(self._service.engine.version)
        return swapped

    def _follow_pointer(self, bundle: Path) -> bool:
        if bundle.name == self._service.engine.version:
            self._accept("current")
            return False
        if bundle.name == self._broken.get("current"):
            return False
        self._service.swap(self._opened("current", bundle, bundle.name, bundle.name))
        self._accept("current")
        _LOG.info("%s is served", bundle.name)
        return True

    def _follow_exploration(self) -> None:
        """Draw or show the best; where the registry cannot be read it stays as it was."""
        if self._registry is None:
            return
        try:
            wanted = self._registry.explores()
        except Exception as error:
            _LOG.error("whether slates are drawn cannot be read, it stays: %s", error)
            return
        if wanted != self._service.explores:
            self._service.explore(wanted=wanted)
            _LOG.warning(
                "exploration %s", "goes on" if wanted else "is stopped: the best are shown"
            )

    def _follow_challengers(self, registry: Registry) -> None:
        try:
            wanted = registry.challengers()
        except Exception as error:
            named: dict[Role, str | None] = {
                "canary": self._params.canary, "shadow": self._params.shadow
            }  # fmt: skip
            for role, name in named.items():
                if name is not None:
                    self._refuse(role, name, error)
            return
        for role, unfound in wanted.unfound.items():
            self._refuse(role, unfound.name, unfound.error)
        if "canary" not in wanted.unfound:
            self._follow_canary(registry, wanted)
        if "shadow" not in wanted.unfound:
            self._follow_shadow(registry, wanted.shadow)

    def _follow_canary(self, registry: Registry, wanted: Challengers) -> None:
        canary, now = wanted.canary, self._service.arms.canary
        if canary is None or canary.identity in (self._service.engine.identity, *self._ended):
            self._accept("canary")
            if now is not None:
                self._service.try_out(None)
        elif now is None or (now.engine.identity, now.share) != (canary.identity, wanted.share):
            engine = self._challenger(registry, "canary", canary)
            if engine is not None:
                self._service.try_out(engine, wanted.share)
        else:
            self._accept("canary")
            self._watch(registry, canary)

    def _watch(self, registry: Registry, canary: Challenger) -> None:
        reason = self._guard.look(canary.identity)
        if reason is None:
            return
        self._ended.add(canary.identity)
        self._service.try_out(None)
        _LOG.error("canary %s ends: %s", canary.version, reason)
        try:
            registry.ended(canary, reason)
        except TesseraError as error:
            _LOG.error("that canary %s ended is not in the history: %s", canary.version, error)

    def _follow_shadow(self, registry: Registry, shadow: Challenger | None) -> None:
        now = self._service.arms.shadow
        if shadow is None:
            self._accept("shadow")
            if now is not None:
                self._service.overshadow(None)
        elif now is None or now.engine.identity != shadow.identity:
            engine = self._challenger(registry, "shadow", shadow)
            if engine is not None:
                self._service.overshadow(engine)
        else:
            self._accept("shadow")

    def _challenger(self, registry: Registry, role: Role, wanted: Challenger) -> Engine | None:
        if wanted.identity == self._broken.get(role):
            return None
        mark = _mark(wanted)
        if mark is not None and mark == self._damaged.get(role):
            return None
        try:
            self._damaged[role] = mark
            wanted.check()
            del self._damaged[role]
            engine = self._opened(role, wanted.path, wanted.version, wanted.identity)
            registry.began(role, wanted)
        except Exception as error:
            self._refuse(role, wanted.version, error)
            return None
        self._accept(role)
        _LOG.info("%s is %s", engine.version, role)
        return engine

    def _opened(self, role: Role, bundle: Path, version: str, mark: str) -> Engine:
        require_room(bundle)
        self._broken[role] = mark
        engine = Engine.open(bundle, self._params, version)
        require_fit(engine, self._service.acted(), self._params.acted_share)
        return engine

    def _accept(self, role: Role) -> None:
        self._broken.pop(role, None)
        self._damaged.pop(role, None)
        self._service.refuse(role, None)

    def _refuse(self, role: Role, version: str, error: Exception) -> None:
        """Raise the alarm, once."""
        told = " ".join(str(error).split())
        reason = told if isinstance(error, TesseraError) else f"{type(error).__name__}: {told}"
        before = self._service.refusals.get(role)
        self._service.refuse(role, Refusal(version, reason, role))
        if before is None or before.version != version:
            _LOG.error("%s: %s", self._standing(role), reason)

    def _standing(self, role: Role) -> str:
        """Say what stands there now instead."""
        if role == "current":
            return f"{self._service.engine.version} stays"
        version = self._service.challengers().get(role)
        return f"{role} {version} stays" if version else f"no {role}"

    def _follow(self) -> None:
        while not self._stopped.wait(_LOOK_S):
            try:
                if self.look():
                    settle()
                self._service.hear()
                self._service.lay_out()
            except Exception:  # whatever it is, the old bundle goes on answering
                _LOG.exception("%s stays", self._service.engine.version)


def _mark(wanted: Challenger) -> object:
    """Return what changes when a file of a bundle is written; None while they move."""
    try:
        return wanted.identity, marks(wanted.path.rglob("*"))
    except OSError:
        return None
