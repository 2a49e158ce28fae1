"""Other versions of the registry for people to look at, opened one at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tessera.bundles.manifest import MANIFEST, check, read_manifest
from tessera.bundles.places import bundles_beside
from tessera.contracts.errors import TesseraError
from tessera.serve.engine import Engine
from tessera.serve.fitness import require_room
from tessera.serve.http.problems import Refused
from tessera.serve.service import Service

_MODEL = "model"
"""Kind of bundle that is no policy of old, which only its log knows."""


class Versions:
    """Versions of the registry that can be looked at; none of them is shown to investors."""

    def __init__(self, service: Service) -> None:
        """Look into the registry beside whose log lies."""
        self._service = service
        self._lock = threading.Lock()
        self._opened: Engine | None = None

    @property
    def _folder(self) -> Path:
        return bundles_beside(self._service.log.path.parent)

    def versions(self) -> list[str]:
        """List those that are not served now, the newest first."""
        found = [path.parent for path in self._folder.glob(f"[!.]*/{MANIFEST}")]
        names = {one.name for one in found if read_manifest(one).get("kind") == _MODEL}
        names.discard(self._service.engine.version)
        return sorted(names, key=lambda name: (len(name), name), reverse=True)

    @contextmanager
    def opened(self, version: str) -> Iterator[Engine]:
        """Open a version, and let it know all that happened; nobody else looks meanwhile.

        Raises
        ------
        Refused
            If there is none of this name, or it cannot be opened.
        """
        if version not in self.versions():
            raise Refused(404, "Unknown version", "no such version in the registry", "beside")
        for one in self._service.arms.engines():
            if one.version == version:  # it answers or scores already, and knows all
                yield one
                return
        with self._lock:
            if self._opened is None or self._opened.version != version:
                self._opened = None  # two of them may be more than the memory holds
                self._opened = self._open(version)
            self._service.inform(self._opened)
            yield self._opened

    def _open(self, version: str) -> Engine:
        bundle = self._folder / version
        try:
            check(bundle)
            require_room(bundle)
            return Engine.open(bundle, self._service.engine.params)
        except TesseraError as error:
            raise Refused(409, "Cannot be opened", str(error), "beside") from error
