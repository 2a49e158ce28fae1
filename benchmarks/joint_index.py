"""Whose vectors codes should be learnt from, and whether they should be learnt with the decoder.

Usage: python -m benchmarks.joint_index [WORLD] [--seeds 0 1 2] [--chains default plain]
with the official files in TESSERA_DATA for a world that has such

DGI (arXiv 2603.10409) learns codes and decoder together: codewords are drawn softly by the item's
own vector (`hstu.soft_forcing`), and afterwards an item gets the codewords that its vector is
nearest to.  Beside such codes stand those that `sid` gives by default, and codes of the vectors
that a trunk has learnt before, without codes or with them.  Codes of a trunk are a generation of
their own in the ledger; those given before stay.

A chain trains one kind of codes after the other, each from the vectors of one before.  A killed run
resumes behind the last whole chain, and what was measured before with the same settings and code is
told too.

Legend: N items in the order of their ids, D width, L levels.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ibis
import numpy as np
import pyarrow.parquet as pq

from benchmarks import codes_real, generate, quality
from benchmarks.common import ROOT, Kept, each, write_result
from benchmarks.places import run_alone, turned
from benchmarks.trunk_codes import (
    agreement,
    codes_told,
    decoded,
    joint_book,
    own_book,
    placed,
    vectors_of,
)
from tessera.contracts.arrays import Float64s, Ints
from tessera.model.params import HstuParams
from tessera.model.sequences.exposure_log import Sources
from tessera.model.sequences.reading import read_dataset
from tessera.model.trunk.model import SequenceModel
from tessera.model.trunk.saved import load_model
from tessera.platform.workspace import files
from tessera.platform.workspace.params import Sections
from tessera.platform.workspace.paths import DEFAULT_PROFILE, Workspace
from tessera.stages.evaluate import report
from tessera.stages.evaluate.holdout import read_lists
from tessera.stages.sid import ledger
from tessera.stages.sid.codebooks import Quantizer
from tessera.stages.sid.vectors import Space

MARKET, FAR_TRANS = WORLDS = ("market", "far-trans-2020")
SOFTNESS = 1.0
"""Temperature that soft forcing begins with, as DGI's; it falls to a tenth."""
DEFAULT, NONE, OWN, READ = "default", "no codes", "own vectors", "own vectors, codes read"
FORCED, AT_ONCE, JOINT, AGAIN = "soft forcing", "joint, at once", "joint", "joint, forced again"
_SEEDS = range(10)
_TABLES = (
    "events", "codes", "users", "items", "prices", "exposures", "outcomes", "edges", "cate",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where a seed of a world is measured; its stages before `sid` are done."""

    workspace: Workspace
    params: Sections

    def coded(self) -> None:
        """Give the codes that `sid` gives by default."""
        run_alone(self.workspace, "sid", self.params)

    def recoded(self, book: Quantizer, vector_ND: Float64s, name: str) -> None:
        """Give codes of these vectors, as a generation behind that of `sid` in a ledger."""
        item_ids = self._codes()["item_id"]
        codes = ledger.append({}, item_ids, book.encode(vector_ND))
        before, after = self.workspace.artifact("ledger_out"), self.workspace.data / "ledger"
        files.remove(after)
        ledger.write_ledger(before, after, ledger.Codebook(Space([], {}), book), codes, name)
        ledger.write_codes(codes, item_ids, self.workspace.artifact("codes"))

    def trained(self, **hstu: Any) -> dict[str, Any]:
        """Train with the codes that were given, and tell what is found."""
        trained = run_alone(self.workspace, "hstu", turned(self.params, {"hstu": hstu}))
        found = self.found(ibis.read_parquet(self.workspace.artifact("lists")))
        codes = codes_told(self.code_NL())
        return {"models": found, "codes": codes, "epochs": trained["hstu_epochs"]}

    def found(self, lists: ibis.Table) -> dict[str, dict[str, float]]:
        """Return what each model's lists find."""
        holdout = codes_real.holdout_of(self.workspace, self.params)
        tops = read_lists(lists, holdout, report.DEPTH)
        own = {model: tops[model] for model in codes_real.MODELS if model in tops}
        return codes_real.figures_of(own, holdout)

    def model(self) -> SequenceModel:
        """Return what was trained last."""
        return load_model(self.workspace.artifact("model"))[0]

    def code_NL(self) -> Ints:
        """Return the codewords of the items, without what tells apart who shares them."""
        return np.array(self._codes()["code"])[:, :-1]

    def like(self) -> tuple[Quantizer, int]:
        """Return what `sid` learnt last, and by which seed."""
        book = ledger.read_codebook(self.workspace.artifact("codebook"))
        return book.quantizer, self.params["sid"].model_dump()["seed"]

    def _codes(self) -> dict[str, list[Any]]:
        rows: dict[str, list[Any]] = pq.read_table(self.workspace.artifact("codes")).to_pydict()
        return rows


def default(place: Place) -> dict[str, Any]:
    """Train with the codes of `sid`, then with codes of that trunk's vectors."""
    place.coded()
    told = {DEFAULT: place.trained()}
    model, (vector_ND, seen_N) = place.model(), vectors_of(place.model())
    told[DEFAULT]["agrees"] = agreement(joint_book(model).encode(vector_ND), place.code_NL())
    place.recoded(own_book(vector_ND, seen_N, *place.like()), vector_ND, READ)
    return told | {READ: place.trained()}


def plain(place: Place) -> dict[str, Any]:
    """Train without codes, then with codes of that trunk's vectors."""
    place.coded()
    told = {NONE: place.trained(use_codes=False, generate=False)}
    vector_ND, seen_N = vectors_of(place.model())
    items = ibis.read_parquet(place.workspace.artifact("items"))
    book = own_book(vector_ND, seen_N, *place.like())
    place.recoded(book, placed(vector_ND, seen_N, items), OWN)
    return told | {OWN: place.trained()}


def joint(place: Place) -> dict[str, Any]:
    """Train softly forced; decode that trunk's codes at once, trained anew, and forced again."""
    place.coded()
    told = {FORCED: place.trained(soft_forcing=SOFTNESS)}
    model = place.model()
    book, (vector_ND, _) = joint_book(model), vectors_of(model)
    code_NL = book.encode(vector_ND)
    told[FORCED]["agrees"] = agreement(code_NL, place.code_NL())
    told[AT_ONCE] = {"models": _at_once(place, model, code_NL), "codes": codes_told(code_NL)}
    place.recoded(book, vector_ND, JOINT)
    told[JOINT] = place.trained()
    return told | {AGAIN: place.trained(soft_forcing=SOFTNESS)}


CHAINS = {"default": default, "plain": plain, "joint": joint}


def _at_once(place: Place, model: SequenceModel, code_NL: Ints) -> dict[str, dict[str, float]]:
    tables = Sources(*(ibis.read_parquet(place.workspace.artifact(one)) for one in _TABLES))
    params = HstuParams(**place.params["hstu"].model_dump())
    with TemporaryDirectory() as scratch:
        split = place.workspace.artifact("split")
        dataset = read_dataset(tables, split, Path(scratch), params, with_log=False)
        return place.found(ibis.memtable(decoded(model, dataset, code_NL, params)))


def place_of(world: str, seed: int) -> Place:
    """Return where a seed of a world is measured."""
    if world == MARKET:
        root = ROOT / "data" / "bench" / f"joint-index-{seed}"
        return Place(Workspace(root, DEFAULT_PROFILE), generate.params_of(seed, generate=True))
    one = codes_real.SETS[world]
    params = turned(quality.params_of(one, seed), {"sid": {"seed": seed}})
    return Place(quality.place_of(f"joint-index-{world}", one), params)


def prepared(piece: tuple[str, int]) -> dict[str, Any]:
    """Run the stages before codes are given: of a market for each seed, else once."""
    world, seed = piece
    place = place_of(world, seed)
    if world == MARKET:
        generate.draw(place.workspace, seed, [one for one in generate.BEFORE if one != "sid"])
        return {}
    for stage in quality.BEFORE:
        if stage != "sid":
            run_alone(place.workspace, stage, place.params)
    return {}


def measured(piece: tuple[str, int, str]) -> dict[str, Any]:
    """Train a chain, and tell what each of its kinds of codes finds."""
    world, seed, chain = piece
    return CHAINS[chain](place_of(world, seed))


def main() -> None:
    """Measure a world; write results/joint_index.json, or one that bears the world's name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("world", nargs="?", default=MARKET, choices=WORLDS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], choices=_SEEDS)
    parser.add_argument("--chains", nargs="+", default=list(CHAINS), choices=CHAINS)
    asked = parser.parse_args()
    world, is_market = asked.world, asked.world == MARKET
    if not (is_market or os.environ.get("TESSERA_DATA")):
        parser.error("name the folder with the official files in TESSERA_DATA")
    name = "joint_index" if is_market else f"joint_index_{world}"
    of = generate.MARKET if is_market else asdict(codes_real.SETS[world])
    kept = Kept(name, {"world": of, "softness": SOFTNESS})
    each(prepared, [(world, seed) for seed in (asked.seeds if is_market else [0])], world, kept)
    each(measured, [(world, *one) for one in product(asked.seeds, asked.chains)], world, kept)
    seeds: dict[str, dict[str, Any]] = {}
    for seed, chain in product(_SEEDS, CHAINS):
        if (world, seed, chain) in kept:
            seeds.setdefault(str(seed), {}).update(kept[world, seed, chain])
    write_result(name, {"seeds": seeds, "world": of, "softness": SOFTNESS})


if __name__ == "__main__":
    main()
