"""The manifest of a bundle: SHA-256 of every file, so that a reader can refuse a broken one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tessera.contracts.errors import BrokenBundle
from tessera.contracts.hashes import file_hashes

MANIFEST = "manifest.json"
SEAL = "seal.json"
"""Seal of the verdict: like the manifest it is no part of the identity, which no key decides."""
VERDICT, PAGE, PAGE_SEAL = "verdict.json", "verdict.html", "page_seal.json"
"""Verdict, its page and the seal of the page.  The last two come with the act that publishes: they
are listed, and no part of the identity, so that other words on a page make no other bundle."""


def hashes(bundle: Path) -> dict[str, str]:
    """SHA-256 of every file of a bundle but manifest and seal, by relative name.

    Raises
    ------
    LinkedFile
        If a link lies in it.
    """
    found = file_hashes(bundle)
    return {name: told for name, told in found.items() if name not in (MANIFEST, SEAL)}


def seal(bundle: Path, facts: Mapping[str, Any]) -> None:
    """Write the manifest: the facts given, then the hash of every file and of them all."""
    files = hashes(bundle)
    served = {name: told for name, told in files.items() if name not in (PAGE, PAGE_SEAL)}
    identity = hashlib.sha256(json.dumps(served, sort_keys=True).encode()).hexdigest()
    manifest = {**facts, "identity": identity, "files": files}
    (bundle / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def read_manifest(bundle: Path) -> dict[str, Any]:
    """Read the manifest without checking the files.

    Raises
    ------
    BrokenBundle
        If there is none or it is not JSON.
    """
    try:
        manifest: dict[str, Any] = json.loads((bundle / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise BrokenBundle(f"{bundle.name} has no readable manifest: publish again") from error
    return manifest


def check(bundle: Path) -> dict[str, Any]:
    """Return the manifest of a bundle whose files all match it.

    Raises
    ------
    BrokenBundle
        Naming the first file that is missing, added or changed.
    """
    manifest = read_manifest(bundle)
    found = hashes(bundle)
    for name in sorted(set(found) | set(manifest["files"])):
        if found.get(name) != manifest["files"].get(name):
            raise BrokenBundle(
                f"{bundle.name}: {name} does not match the manifest: publish again or roll back"
            )
    return manifest
