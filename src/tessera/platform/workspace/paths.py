"""Where everything lies: a profile has its own data and state, so that none touches another."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tessera.bundles.places import bundles_of, log_of, watched_of
from tessera.contracts.artifacts import ARTIFACTS
from tessera.contracts.errors import BadParams
from tessera.platform.workspace.catalogue import MARKET
from tessera.platform.workspace.store import Store
from tessera.platform.workspace.stores import open_store

DEFAULT_PROFILE = MARKET
_EXPERIMENTS = (".dvc", "tmp", "exps")
"""Where DVC keeps the copies that `dvc exp run --temp` and `--queue` work in."""


def find_root() -> Path:
    """Return the repository: `TESSERA_ROOT`, or the nearest folder upwards with a params.yaml.

    Raises
    ------
    BadParams
        If there is none.
    """
    named = os.environ.get("TESSERA_ROOT")
    start = Path(named) if named else Path.cwd()
    for folder in (start, *start.parents):
        if (folder / "params.yaml").is_file() and (folder / "profiles").is_dir():
            return folder.resolve()
    raise BadParams(f"no params.yaml at or above {start}: run tessera inside the repository")


HISTORY = "history"
"""Name of the chain of a profile's acts."""
LOOKS = "looks"
"""Name of the chain that all profiles share: every candidate that was ever weighed."""
LINES = ".jsonl"
"""Ending of a chain's file."""
EXCHANGE = "TESSERA_EXCHANGE"
"""Environment variable that names the folder or object store which all workers see."""
POOL = "TESSERA_POOL"
"""Environment variable that names Airflow's pool of heavy stages; unset, they share its default."""
GPU_QUEUE = "TESSERA_GPU_QUEUE"
"""Environment variable that names the queue of stages that train on a GPU; unset, they wait with
the others."""

PUBLISHED = "TESSERA_PUBLISHED"
"""Environment variable that names the folder or object store in which what is published can be had
elsewhere."""
MIRROR_KEY = "TESSERA_PUBLISHED_KEY"
"""Environment variable with the public key of another registry: this workspace is its mirror."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Folders of one profile inside one repository."""

    root: Path
    profile: str

    @property
    def data(self) -> Path:
        """What the stages write; DVC versions it."""
        return self.root / "data" / self.profile

    @property
    def registry(self) -> Path:
        """State that only acts change."""
        return self.state / self.profile

    @property
    def bundles(self) -> Path:
        """Published bundles, by version."""
        return bundles_of(self.registry)

    @property
    def served(self) -> Path:
        """What the service logged and knows, keys and clock among it."""
        return log_of(self.registry)

    @property
    def watched(self) -> Path:
        """What was measured of each day that was served."""
        return watched_of(self.registry)

    @property
    def state(self) -> Path:
        """Registries of all profiles, with what they share: key, looks, MLflow.

        `dvc exp run` may work in a copy below `.dvc/tmp/exps`; what it judges counts where the
        copy was made.
        """
        return _workspace(self.root) / "registry"

    @property
    def exchange(self) -> Store | None:
        """Where the workspaces of several workers meet; None on one machine."""
        named = os.environ.get(EXCHANGE)
        return open_store(named, EXCHANGE) if named else None

    @property
    def published(self) -> Store | None:
        """Where what is published can be had elsewhere, by profile; None if nowhere."""
        return open_store(os.environ[PUBLISHED], PUBLISHED) if self.is_had_elsewhere else None

    @property
    def is_had_elsewhere(self) -> bool:
        """Whether there is such a place."""
        return bool(os.environ.get(PUBLISHED))

    @property
    def is_mirror(self) -> bool:
        """Whether what is published comes from another registry, and no act is done here."""
        return bool(os.environ.get(MIRROR_KEY))

    @property
    def validation(self) -> Path:
        """Results of the last validation of each table."""
        return self.data / "validation"

    @property
    def records(self) -> Path:
        """One record a stage run, read by tracking."""
        return self.data / "runs"

    @property
    def tracking(self) -> Path:
        """MLflow store, shared by the profiles (one experiment each)."""
        return self.state / "mlflow"

    @property
    def overrides(self) -> Path:
        """YAML file of the profile."""
        return self.root / "profiles" / f"{self.profile}.yaml"

    @property
    def dvc_yaml(self) -> Path:
        """Rendered pipeline of the profile."""
        if self.profile == DEFAULT_PROFILE:
            return self.root / "dvc.yaml"
        return self.root / "profiles" / self.profile / "dvc.yaml"

    def artifact(self, name: str) -> Path:
        """Return where an artifact lies."""
        return self.data / ARTIFACTS[name].filename

    def metrics(self, stage: str) -> Path:
        """Return where the flat metrics of a stage lie."""
        return self.data / "metrics" / f"{stage}.json"


def _workspace(root: Path) -> Path:
    """Return the repository that a temporary copy of an experiment belongs to, or the root itself.

    >>> _workspace(Path("/repo/.dvc/tmp/exps/standalone/tmp1")).as_posix()
    '/repo'
    """
    parts = root.parts
    for at in range(len(parts)):
        if parts[at : at + len(_EXPERIMENTS)] == _EXPERIMENTS:
            return Path(*parts[:at])
    return root


def open_workspace(profile: str, root: Path | None = None) -> Workspace:
    """Return the folders of a profile that exists.

    Raises
    ------
    BadParams
        If the profile's YAML does not exist; the message lists those that do.
    """
    workspace = Workspace(root or find_root(), profile)
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", profile) or not workspace.overrides.is_file():
        known = ", ".join(
            sorted(path.stem for path in (workspace.root / "profiles").glob("*.yaml"))
        )
        raise BadParams(
            f"no profile {profile!r}: choose one of {known}, or write profiles/{profile}.yaml"
        )
    return workspace


def profile_names(root: Path) -> list[str]:
    """Profiles that have a YAML file."""
    return sorted(path.stem for path in (root / "profiles").glob("*.yaml"))
