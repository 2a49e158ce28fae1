"""Readers ask without a pause while another bundle becomes current, and the one before again.

Usage: python -m benchmarks.serve_swaps [--times 50] [--readers 8]

The server on core 0 follows a file that names the bundle, as it follows the pointer of a registry.
An answer is mixed if its version, its policy and the bundle of its state are not of one bundle.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.common import KEPT, write_result
from benchmarks.serve import served
from benchmarks.serve_load import Client
from benchmarks.serve_world import build, user_name
from tessera.bundles.manifest import read_manifest
from tessera.platform.workspace import files

_PORT, _ITEMS, _USERS = 8768, 400, 2000
_PATIENCE_S = 60.0
"""Within which a bundle that became current has to answer."""


@dataclass(slots=True)
class Seen:
    """What the readers were told."""

    identity: dict[str, str]
    """Of each version, as the state of a slate names it."""
    by_version: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    mixed: int = 0
    ends: bool = False

    def take(self, status: int, body: bytes) -> None:
        """Look at one answer."""
        if status != 200:
            self.failed += 1
            return
        answer = json.loads(body)
        version = answer["version"]
        self.by_version[version] += 1
        of = answer["context_version"].partition("+")[0]
        whole = answer["policy_id"] == version and self.identity.get(version) == of
        self.mixed += not whole


async def _read(port: int, secret: dict[str, str], seen: Seen, first: int) -> None:
    client, number = Client(port, secret), first
    while not seen.ends:
        number = (number + 1) % _USERS
        try:
            answer = client.ask("/v1/recommendations", {"investor_id": user_name(number), "k": 10})
            seen.take(*await answer)
        except (OSError, asyncio.IncompleteReadError):
            seen.failed += 1
    client.close()


async def _publish(client: Client, pointer: Path, bundles: list[Path], times: int) -> None:
    """Make the second bundle current, and the first again, each time until it answers."""
    for _ in range(times):
        for bundle in reversed(bundles):
            files.write_bytes(str(bundle).encode(), pointer)
            async with asyncio.timeout(_PATIENCE_S):
                while await _version(client) != bundle.name:
                    await asyncio.sleep(0.05)


async def _version(client: Client) -> str:
    return str(json.loads((await client.ask("/v1/version", None, "GET"))[1])["version"])


async def _run(
    client: Client, seen: Seen, pointer: Path, bundles: list[Path], asked: tuple[int, int]
) -> None:
    readers, times = asked
    reading = [
        asyncio.create_task(_read(client.port, client.headers, seen, _USERS // readers * number))
        for number in range(readers)
    ]
    try:
        await _publish(client, pointer, bundles, times)
    finally:
        seen.ends = True
        await asyncio.gather(*reading)
        client.close()


def measure(readers: int, times: int, seed: int) -> dict[str, Any]:
    """Swap back and forth so many times under so many readers."""
    folder = KEPT / "serve" / "swaps"
    shutil.rmtree(folder, ignore_errors=True)
    bundles = [folder / "one", folder / "other"]
    for number, bundle in enumerate(bundles):
        build(bundle, _ITEMS, _USERS, seed + number)
    identity = {one.name: str(read_manifest(one)["identity"])[:12] for one in bundles}
    seen, pointer = Seen(identity), folder / "current"
    files.write_bytes(str(bundles[0]).encode(), pointer)
    with served(str(bundles[0]), folder, _PORT, "--follow", str(pointer)) as (client, _):
        asyncio.run(_run(client, seen, pointer, bundles, (readers, times)))
    return {
        "readers": readers, "publishes": times, "rollbacks": times,
        "answers": seen.by_version.total(), "failed": seen.failed, "mixed": seen.mixed,
        "by_version": dict(seen.by_version),
    }  # fmt: skip


def main() -> None:
    """Measure, and write results/serve_swaps.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.sched_setaffinity(0, {1})
    found = measure(given.readers, given.times, given.seed)
    write_result("serve_swaps", {"seed": given.seed, **found})


if __name__ == "__main__":
    main()
