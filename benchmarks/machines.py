"""The stage `hstu` of the tiny market on two machines, each killed once, and what faults say.

The machines are two network name spaces with a cable between them (a veth pair, which wants root),
each with a clone of its own; without root they are two addresses of loopback.  What they train is
held against one process with the same params.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from benchmarks.common import write_result
from benchmarks.tiny_market import clone, environment
from tessera.platform.workspace.catalogue import MARKET
from tessera.platform.workspace.paths import Workspace

_PARAMS = {"batch": 16, "batch_parts": 4, "epochs": 3, "checkpoint_steps": 2}
"""Four parts for four processes, and epochs of more than two steps, so that one can die in them."""
_PORT = 29410
_LOOK_S = 0.1
_LONGEST_S = 900
_WAIT_S = 20
"""How long whoever comes first waits for the other one, where the other never comes."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine."""

    name: str
    root: Path
    address: str
    card: str
    inside: tuple[str, ...]
    """Words before a command that runs on it."""

    def launch(
        self, meet: str, *, nodes: str = "1:2", conf: tuple[str, ...] = (), restarts: int = 2
    ) -> Any:
        """Start its two processes, which meet the others at an address; return what was started."""
        is_host = meet.startswith(f"{self.address}:")
        words = [*self.inside, "torchrun", "--nnodes", nodes, "--nproc-per-node", "2",
                 "--rdzv-backend", "c10d", "--rdzv-endpoint", meet, "--rdzv-id", "bench",
                 "--local-addr", self.address, "--max-restarts", str(restarts)]  # fmt: skip
        words += ["--rdzv-conf", ",".join((f"is_host={int(is_host)}", *conf))]
        told = {**environment(self.root), "GLOO_SOCKET_IFNAME": self.card,
                "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}  # fmt: skip
        with self.log.open("w") as stream:
            return psutil.Popen(
                [*words, "--no-python", "tessera", "run", "hstu"], cwd=self.root, env=told,
                stdout=stream, stderr=subprocess.STDOUT,
            )  # fmt: skip

    @property
    def log(self) -> Path:
        """Where what it prints goes."""
        return self.root.with_suffix(".log")

    def said(self) -> str:
        """Return the last line that is ours."""
        ours = [line for line in self.log.read_text().splitlines() if line.startswith("error: ")]
        return ours[-1] if ours else ""

    def at(self) -> tuple[int, int] | None:
        """Return epoch and step of its checkpoint."""
        for path in (self.root / "data" / MARKET / ".scratch" / "hstu").glob("*/search/*.safet*"):
            with suppress(SafetensorError, OSError), safe_open(path, "np") as file:
                state = json.loads(file.metadata()["state"])
                return state["epoch"], state["step"]
        return None


def main() -> None:
    """Run every scenario, and write results/machines.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prepared", type=Path, help="folder of the market, made if it is not")
    folder = parser.parse_args().prepared or Path(tempfile.mkdtemp())
    alone = folder / "alone"
    if not (folder / "ready").exists():
        _prepare(alone)
        (folder / "ready").touch()
    with _machines(folder) as (first, second):
        figures: dict[str, Any] = {"apart": first.inside != ()}
        for name, scenario in _SCENARIOS.items():
            for machine in (first, second):
                shutil.rmtree(machine.root, ignore_errors=True)
                shutil.copytree(alone, machine.root, symlinks=True)
                shutil.rmtree(machine.root / "data" / MARKET / "model")
            began = time.perf_counter()
            figures[name] = scenario(first, second, alone)
            figures[name]["s"] = round(time.perf_counter() - began, 1)
            print(name, figures[name], flush=True)
    write_result("machines", figures)


def _prepare(alone: Path) -> None:
    """Make the tiny market up to `hstu`, which one process trains."""
    clone(alone)
    path = alone / "profiles" / f"{MARKET}.yaml"
    profile = yaml.safe_load(path.read_text())
    profile["hstu"] |= _PARAMS
    path.write_text(yaml.safe_dump(profile))
    subprocess.run(["tessera", "render"], cwd=alone, env=environment(alone), check=False)
    words = ["git", "-c", "user.name=b", "-c", "user.email=b@example.org", "commit", "-qam", "four"]
    subprocess.run(words, cwd=alone, check=True)
    subprocess.run(["dvc", "repro", "hstu"], cwd=alone, env=environment(alone), check=True)


@contextmanager
def _machines(folder: Path) -> Iterator[tuple[Machine, Machine]]:
    """Two machines with a cable; two addresses of this one where nobody may lay any."""
    spaces = [f"tessera{os.getpid()}{name}" for name in "ab"]
    roots = [folder / "first", folder / "second"]
    try:
        _lay(spaces)
    except (OSError, subprocess.CalledProcessError):
        found = [
            Machine(root.name, root, f"127.0.0.{n}", "lo", ()) for n, root in enumerate(roots, 1)
        ]
        yield found[0], found[1]
        return
    try:
        found = [
            Machine(
                root.name, root, f"10.77.0.{n}", f"v{space[-1]}", ("ip", "netns", "exec", space)
            )
            for n, (root, space) in enumerate(zip(roots, spaces, strict=True), 1)
        ]
        yield found[0], found[1]
    finally:
        for space in spaces:
            subprocess.run(["ip", "netns", "del", space], check=False)


def _lay(spaces: list[str]) -> None:
    one, other = spaces
    for space in spaces:
        _ip("netns", "add", space)
    _ip("link", "add", "va", "netns", one, "type", "veth", "peer", "name", "vb", "netns", other)
    for number, (space, card) in enumerate(zip(spaces, ("va", "vb"), strict=True), 1):
        _ip("-n", space, "addr", "add", f"10.77.0.{number}/24", "dev", card)
        for name in (card, "lo"):
            _ip("-n", space, "link", "set", name, "up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _second_dies(first: Machine, second: Machine, alone: Path) -> dict[str, Any]:
    """Kill the second machine in an epoch; the first goes on by itself."""
    meet = f"{first.address}:{_PORT}"
    running = {machine: machine.launch(meet) for machine in (first, second)}
    killed = _kill_within(second, running, epoch=1)
    ends = {machine.name: _end(process) for machine, process in running.items()}
    return {"killed": killed, "ends": ends, **_beside(first, alone)}


def _first_dies(first: Machine, second: Machine, alone: Path) -> dict[str, Any]:
    """Kill the machine at which they meet; then start both again, the second as the first."""
    meet = f"{first.address}:{_PORT}"
    running = {machine: machine.launch(meet) for machine in (first, second)}
    killed = _kill_within(first, running, epoch=1)
    ends = {machine.name: _end(process) for machine, process in running.items()}
    said = second.said()
    shutil.rmtree(first.root / "data" / MARKET / ".scratch")  # its disk is another one now
    kept = second.at()
    running = {machine: machine.launch(meet) for machine in (first, second)}
    again = {machine.name: _end(process) for machine, process in running.items()}
    return {"killed": killed, "ends": ends, "said": said, "kept": kept, "again": again,
            **_beside(first, alone)}  # fmt: skip


def _nobody_there(first: Machine, _second: Machine, _alone: Path) -> dict[str, Any]:
    """Meet where nobody listens."""
    process = first.launch("10.77.0.9:1", nodes="2", conf=(f"read_timeout={_WAIT_S}",))
    return {"end": _end(process), "last": _last(first)}


def _never_comes(first: Machine, _second: Machine, _alone: Path) -> dict[str, Any]:
    """Wait for a machine that is never started."""
    meet = f"{first.address}:{_PORT}"
    process = first.launch(meet, nodes="2", conf=(f"join_timeout={_WAIT_S}",))
    return {"end": _end(process), "last": _last(first)}


def _other_params(first: Machine, second: Machine, _alone: Path) -> dict[str, Any]:
    """Tell one machine another dropout."""
    path = second.root / "profiles" / f"{MARKET}.yaml"
    profile = yaml.safe_load(path.read_text())
    profile["hstu"]["dropout"] = 0.3
    path.write_text(yaml.safe_dump(profile))
    return _refused(first, second)


def _other_code(first: Machine, second: Machine, _alone: Path) -> dict[str, Any]:
    """Let one machine be on another commit."""
    path = second.root / "src" / "tessera" / "model" / "trainer" / "loop.py"
    path.write_text(path.read_text() + "\n")
    return _refused(first, second)


def _refused(first: Machine, second: Machine) -> dict[str, Any]:
    meet = f"{first.address}:{_PORT}"
    running = {machine: machine.launch(meet, nodes="2", restarts=0) for machine in (first, second)}
    ends = {machine.name: _end(process) for machine, process in running.items()}
    return {"ends": ends, "said": first.said(), "model": (first.root / _MODEL).exists()}


_SCENARIOS = {
    "second_dies": _second_dies,
    "first_dies": _first_dies,
    "other_params": _other_params,
    "other_code": _other_code,
    "never_comes": _never_comes,
    "nobody_there": _nobody_there,
}
_MODEL = Path("data") / MARKET / "model" / "model.safetensors"


def _kill_within(victim: Machine, running: Mapping[Machine, Any], epoch: int) -> dict[str, Any]:
    """Kill all that a machine runs once its checkpoint lies within an epoch."""
    process, until = running[victim], time.perf_counter() + _LONGEST_S
    while time.perf_counter() < until and all(one.poll() is None for one in running.values()):
        at = victim.at()
        if at is not None and at >= (epoch, 1) and at[1]:
            family = [process, *process.children(recursive=True)]
            for one in family:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            return {"machine": victim.name, "at": at, "processes": len(family)}
        time.sleep(_LOOK_S)
    raise SystemExit(f"{victim.name} was never within epoch {epoch}: see {victim.log}")


def _end(process: Any) -> int:
    """Wait until it has ended."""
    try:
        return int(process.wait(_LONGEST_S))
    except psutil.TimeoutExpired:
        for one in [*process.children(recursive=True), process]:
            one.kill()
        raise SystemExit("a machine never ended: it hangs") from None


def _last(machine: Machine) -> str:
    """Return the last line that names an error."""
    lines = [line for line in machine.log.read_text().splitlines() if "Error" in line]
    return lines[-1].strip() if lines else ""


def _beside(machine: Machine, alone: Path) -> dict[str, Any]:
    """Return how far curve and weights are from those of one process."""
    curves = [_curve(root) for root in (alone, machine.root)]
    ours, theirs = (load_file(root / _MODEL) for root in (machine.root, alone))
    gaps = [np.abs(ours[name].astype(float) - theirs[name]).max(initial=0) for name in theirs]
    return {
        "losses": curves[1],
        "loss_gap": max(abs(a - b) / a for a, b in zip(*curves, strict=True)),
        "weights_gap": float(max(gaps)),
        "scratch_left": (machine.root / "data" / MARKET / ".scratch" / "hstu").exists(),
    }


def _curve(root: Path) -> list[float]:
    path = Workspace(root, MARKET).artifact("training") / "hstu.csv"
    lines = path.read_text().splitlines()
    return [float(line.split(",")[1]) for line in lines[1:]]


if __name__ == "__main__":
    main()
