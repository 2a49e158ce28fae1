"""The entry point of index: pack what serving needs, with a hash of every file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ibis import Table

from tessera.bundles.edges import FILE, lay_out_edges
from tessera.bundles.manifest import seal as seal_bundle
from tessera.bundles.vectors import write_trie, write_vectors
from tessera.bundles.walks import DECLARED_FILE, declared
from tessera.contracts.split import known, load_split
from tessera.shared.policies.serving import from_facts, write_policy
from tessera.stages.index.facts import (
    item_facts,
    neighbours,
    segments,
    user_facts,
    write_facts,
)
from tessera.stages.index.params import IndexParams
from tessera.stages.index.words import write_words


def run(
    *,
    events: Table,
    items: Table,
    users: Table,
    edges: Table,
    codes: Table,
    item_vectors: Table,
    user_vectors: Table,
    model: Path,
    facts: Path,
    codebook: Path,
    ledger_out: Path,
    champion: Path,
    verdict: Path,
    seal: Path,
    ranking: Path,
    split: Path,
    bundle: Path,
    params: IndexParams,
) -> dict[str, float]:
    """Build the candidate bundle; publishing it is an act, not a stage."""
    bundle.mkdir(parents=True)
    cut = load_split(split)
    past = known(events, cut)
    policy = from_facts(json.loads(verdict.read_text())["policy"])
    counts = policy.unknown, params
    write_facts(item_facts(items, past, cut.cut, *counts), bundle / "items.parquet")
    write_facts(user_facts(users, past, user_vectors, cut.cut, *counts), bundle / "users.parquet")
    write_facts(segments(users, past, cut.cut, *counts), bundle / "segments.parquet")
    write_facts(neighbours(edges, params.neighbours), bundle / FILE)
    write_facts(declared(edges), bundle / DECLARED_FILE)
    indexed = write_vectors(item_vectors, bundle, params.kind)
    write_trie(codes, bundle)
    write_words(items, codes, cut.cut, bundle)
    for name, folder in (
        ("model", model),
        ("facts", facts),
        ("codebook", codebook),
        ("ledger", ledger_out),
    ):
        shutil.copytree(folder, bundle / name)
    lay_out_edges(bundle)
    for file in (verdict, seal, ranking, split):
        shutil.copyfile(file, bundle / file.name)
    write_policy(policy, bundle)
    judged_against = json.loads((champion / "champion.json").read_text())["version"]
    seal_bundle(bundle, {"kind": "model", "judged_against": judged_against})
    return {"items": float(indexed), "files": float(sum(p.is_file() for p in bundle.rglob("*")))}
