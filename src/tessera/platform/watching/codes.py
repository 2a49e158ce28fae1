"""What a bundle says of its semantic IDs: how many it has room for, and how many items moved.

Shapes: N items, L codewords.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tessera.bundles.manifest import read_manifest
from tessera.contracts.arrays import Ints
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.library_errors import translate_errors
from tessera.contracts.series import ALL
from tessera.shared.codes.health import capacity
from tessera.shared.codes.trie import Trie, load_trie
from tessera.stages.daily.levels import Levels
from tessera.stages.daily.units import Level


def codes(bundle: Path, bundles: Path, investors: int) -> Levels:
    """Measure the codes of a bundle, beside those of the one that it was judged against.

    Parameters
    ----------
    bundle, bundles : Path
        The bundle, and where the published ones lie.
    investors : int
        Whom the bundle answered.
    """
    mine = read_codes(bundle)
    if mine is None:
        return {}
    names, code_NL = mine
    room = Level(capacity(code_NL[:, :-1]), None, len(names), investors)
    found: Levels = {("codes.capacity", ALL): room}
    former = read_codes(bundles / str(read_manifest(bundle).get("judged_against") or bundle.name))
    if former is not None:
        before = dict(zip(former[0], map(tuple, former[1].tolist()), strict=True))
        now = zip(names, map(tuple, code_NL.tolist()), strict=True)
        moved = [before[name] != code for name, code in now if name in before]
        if moved:
            found["codes.churn", ALL] = Level(float(np.mean(moved)), None, len(moved), investors)
    return found


def read_codes(bundle: Path) -> tuple[list[str], Ints] | None:
    """Return items of a bundle with their codes, the suffix last; None if it has none.

    Raises
    ------
    BrokenBundle
        If they cannot be read.
    """
    if not (bundle / "trie.json").is_file():
        return None
    with translate_errors(
        BrokenBundle, f"{bundle.name}: its codes cannot be read", "publish it again"
    ):
        names = json.loads((bundle / "trie.json").read_text())
        trie = load_trie(bundle / "trie.safetensors")
        return [names[at] for at in trie.item_N.tolist()], codes_of(trie)


def codes_of(trie: Trie) -> Ints:
    """Walk from each item up to the root; rows in the order of the trie's items."""
    node_N = np.arange(len(trie.item_N))
    code_NL = np.empty((len(node_N), trie.length), np.int64)
    for depth in reversed(range(trie.length)):
        code_NL[:, depth] = trie.codeword[depth][node_N]
        children = np.diff(trie.first_child[depth])
        node_N = np.repeat(np.arange(len(children)), children)[node_N]
    return code_NL
