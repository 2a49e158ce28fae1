"""A checkout of the repository in a temporary folder whose market is tiny."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tessera.platform.cli.render import render_all
from tessera.platform.pipeline.forkserver import ADDRESS, forkserver
from tessera.platform.release.acts import move_floors
from tessera.platform.release.overrides import Override
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import ALL_STAGES
from tessera.platform.workspace.paths import open_workspace


@dataclass(frozen=True)
class Checkout:
    """Runs the commands that a person would type there."""

    root: Path

    @property
    def environment(self):
        binaries = str(Path(sys.executable).parent)
        return {
            **os.environ,
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "TESSERA_ROOT": str(self.root),
            "DVC_NO_ANALYTICS": "1",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "120",
        }

    def start(self, *words, **options):
        """Start a command without waiting."""
        return subprocess.Popen(
            words,
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **options,
        )

    def call(self, *words):
        """Run a command; return its exit code and all it printed."""
        done = self.start(*words)
        printed, _ = done.communicate()
        return done.returncode, printed

    def must(self, *words):
        """Run a command that has to succeed; return what it printed."""
        code, printed = self.call(*words)
        assert code == 0, printed
        return printed

    def open_workspace(self, profile="market"):
        return open_workspace(profile, self.root)

    def artifacts(self):
        """Hash of each artifact of the market by its name."""
        names = (name for stage in ALL_STAGES for name in stage.writes)
        return {name: files.sha256(self.open_workspace().artifact(name)) for name in names}


def _copy(repository, folder):
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in listed:
        if (repository / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(repository / name, folder / name)


def make_checkout(repository, folder, *, tiny=True):
    """Copy what git would commit, make the market and what is watched tiny, commit it."""
    _copy(repository, folder)
    if tiny:
        _shrink(repository, folder)
    for words in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "start"],
    ):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return Checkout(folder)


def _shrink(repository, folder):
    tiny = yaml.safe_load((repository / "tests" / "e2e" / "tiny.yaml").read_text())
    tie = {**tiny, "ope": {**tiny["ope"], "candidate": "champion"}}
    for name, text in (("market", tiny), ("tie", tie)):
        (folder / "profiles" / f"{name}.yaml").write_text(yaml.safe_dump(text))
    watch = yaml.safe_load((folder / "monitoring" / "watch.yaml").read_text())
    for kind, columns in watch["drift"].items():
        watch["drift"][kind] = dict(list(columns.items())[:1])
    (folder / "monitoring" / "watch.yaml").write_text(yaml.safe_dump(watch))
    render_all(folder)
    # What is judged on a handful of requests is judged by floors that somebody moved for it.
    looser = [f"{name}={tiny['ope'][name]}" for name in ("min_ess", "permutations")]
    for name in ("market", "tie"):
        move_floors(
            open_workspace(name, folder), looser, Override("a market of seconds", "the tests")
        )


@pytest.fixture(scope="session")
def new_checkout(repository, tmp_path_factory):
    """Make one more checkout."""

    def make(*, tiny=True):
        return make_checkout(repository, tmp_path_factory.mktemp("checkout"), tiny=tiny)

    return make


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Make a folder once for all processes of this run of the tests.

    `once(name, make)` returns the folder and what `make(folder)` said; who comes while another
    makes it waits.
    """
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def share(name, make):
        folder, said = base / name, base / f"{name}.said"
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not said.exists():
                files.remove(folder)  # of one that failed
                folder.mkdir()
                files.write_bytes(make(folder).encode(), said)
        return folder, said.read_text()

    return share


@pytest.fixture(scope="session")
def ran(once, repository):
    """Run the main job of the tiny market once for all processes; tests look and do not touch."""

    def run(folder):
        return make_checkout(repository, folder).must("tessera", "run")

    folder, printed = once("ran", run)
    return Checkout(folder), printed


@pytest.fixture(scope="session")
def server():
    """Address of a fork server that lasts as long as this process: what it imports takes long."""
    with forkserver():
        address = os.environ.pop(ADDRESS)
        yield address
        os.environ[ADDRESS] = address


@pytest.fixture(scope="module")
def warm(server):
    """Let the fork server take the commands of a file."""
    os.environ[ADDRESS] = server
    yield
    del os.environ[ADDRESS]
