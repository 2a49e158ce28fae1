"""Let workers with workspaces of their own run one pipeline, by taking and giving what steps made.

Artifacts go through a DVC remote by their hash, and what dvc.lock says of a stage as a piece.  Both
lie in the folder or object store that `TESSERA_EXCHANGE` names:

    cache/                      the DVC remote, of all profiles and runs
    <profile>/<run>/causal.json the piece of a stage

A piece is written last: whoever finds one finds its artifacts too.  A worker that is killed before
leaves none, and the next one does the stage again from the same inputs.  The first step of a run,
which the workspace with the registry does, lays out what is known there, so that what did not
change runs nowhere again; pieces of other runs go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tessera.contracts.artifacts import ARTIFACTS
from tessera.contracts.errors import BadParams, TesseraError
from tessera.platform.pipeline.dvc import dvc, target
from tessera.platform.pipeline.dvc_files import entries, put_entries
from tessera.platform.pipeline.pieces import Piece, difference, read_piece, write_piece
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import Stage, behind, find, stages
from tessera.platform.workspace.params import source_of
from tessera.platform.workspace.paths import EXCHANGE, Workspace
from tessera.platform.workspace.store import Store
from tessera.platform.workspace.stores import require_store

FIRST, LAST = "snapshot", "publish"
"""Steps before and after all stages."""
_REMOTE = "exchange"


@dataclass(frozen=True, slots=True)
class Exchange:
    """Where the workers of one run meet, seen from one of their workspaces."""

    workspace: Workspace
    store: Store
    """Of all profiles."""
    run: str

    def receive(self, step: str) -> None:
        """Bring the workspace to the state that a step reads.

        Before a stage that is what the stages behind it left, and what it left itself when it ran
        last; before the last step it is everything.

        Raises
        ------
        TesseraError
            If a stage behind it left nothing, stages did not see the same, or an artifact is gone.
        """
        if step == FIRST:
            return
        stage = find(step, self._stages)
        before = [self._piece(name) for name in self._behind(stage)]
        if told := difference(before):
            raise TesseraError(
                f"{told}: bring every workspace to one commit, then clear the run from its first "
                "task on"
            )
        own = read_piece(self._pieces, step) if stage else None
        known = [*before, *([own] if own else [])]
        put_entries(self.workspace, {one.stage: one.entry for one in known})
        for piece in known:
            self._keep_texts(piece)
        if self._pull(self._read(stage, before)):
            raise TesseraError(
                f"an artifact that {step} reads is not in {self._cache}: clear the run from its "
                "first task on"
            )
        if own and not difference(known):  # nothing changed; if it is gone, the stage runs again
            self._pull(own.outs)

    def send(self, step: str) -> None:
        """Let the others have what a step wrote.

        Raises
        ------
        TesseraError
            If it cannot be pushed; no piece is written then.
        """
        if step == FIRST:
            self._lay_out()
        else:
            self._push([step])
            self._leave(step)

    @property
    def _cache(self) -> str:
        return self.store.below("cache").address

    @property
    def _pieces(self) -> Store:
        return self.store.below(self.workspace.profile).below(self.run)

    @property
    def _stages(self) -> tuple[Stage, ...]:
        return stages(source_of(self.workspace))

    def _behind(self, stage: Stage | None) -> list[str]:
        if stage is None:
            return [FIRST, *(one.name for one in self._stages)]
        names = behind(stage, self._stages)
        return [FIRST, *(name for name in names if name != stage.name)]

    def _piece(self, step: str) -> Piece:
        piece = read_piece(self._pieces, step)
        if piece is None:
            where = self._pieces.address
            raise TesseraError(
                f"no worker left what {step} wrote in {where}: clear the run from {step} on"
            )
        return piece

    def _read(self, stage: Stage | None, before: Iterable[Piece]) -> list[str]:
        """Paths of what a stage reads, or of all that any wrote."""
        there = [path for piece in before for path in piece.outs]
        if stage is None:
            return there
        reads = {self._near(self.workspace.artifact(name)) for name in stage.needs}
        return [path for path in there if path in reads]

    def _near(self, path: Path) -> str:
        return path.relative_to(self.workspace.root).as_posix()

    def _pull(self, paths: list[str]) -> int:
        return self._dvc("pull", "--force", *paths) if paths else 0

    def _push(self, steps: Iterable[str]) -> None:
        if self._dvc("push", *(target(self.workspace, step) for step in steps)):
            raise TesseraError(f"{self._cache} takes no artifacts: see above")

    def _lay_out(self) -> None:
        """Begin a run: forget others, and let all have what is known where the registry lies."""
        of_profile = self.store.below(self.workspace.profile)
        for name in of_profile.names():
            if not name.startswith(f"{self.run}/"):
                of_profile.remove(name)
        done = [FIRST, *(one.name for one in self._stages if one.name in entries(self.workspace))]
        self._push(done)
        for step in done:
            self._leave(step)

    def _leave(self, step: str) -> None:
        texts = {self._near(path): path.read_text() for path in self._kept(step) if path.exists()}
        root = self.workspace.root.as_posix()
        write_piece(Piece(step, entries(self.workspace)[step], texts, root), self._pieces)

    def _keep_texts(self, piece: Piece) -> None:
        for path in self._kept(piece.stage):
            if (text := piece.texts.get(self._near(path))) is not None:
                files.write_bytes(text.encode(), path)

    def _kept(self, step: str) -> list[Path]:
        """Small files that the runner keeps of a step, and no stage reads."""
        if step == FIRST:
            return [self.workspace.data / ".run.json"]
        stage = find(step, self._stages)
        tables = [name for name in stage.writes if ARTIFACTS[name].kind == "table"] if stage else []
        return [
            self.workspace.records / f"{step}.json",
            *(self.workspace.validation / f"{name}.json" for name in tables),
        ]

    def _dvc(self, act: str, *words: str) -> int:
        """Call dvc with the exchange as a remote; nobody's configuration is written."""
        settings = self.workspace.root / ".dvc" / "tmp" / _REMOTE / "config"
        text = f"['remote \"{_REMOTE}\"']\n    url = {self._cache}\n"
        files.write_bytes(text.encode(), settings)
        extra = {"DVC_SYSTEM_CONFIG_DIR": str(settings.parent)}
        return dvc(
            self.workspace, "--wait-for-lock", act, "--quiet", "-r", _REMOTE, *words, extra=extra
        )


def open_exchange(workspace: Workspace, run: str | None) -> Exchange | None:
    """Return where the workers of a run meet; None on one machine.

    Raises
    ------
    BadParams
        If it cannot be used here, or nobody says which run it is.
    """
    store = workspace.exchange
    if store is None:
        return None
    require_store(store, EXCHANGE)
    if not run:
        raise BadParams(f"with {EXCHANGE} a step belongs to a run: set TESSERA_RUN, or unset both")
    return Exchange(workspace, store, quote(run, safe=""))
