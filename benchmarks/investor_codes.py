"""What a ranker gains from codes of investors, beside their dense vector, on small markets.

Usage: python -m benchmarks.investor_codes [--seeds 0 1 2]

The vector of an investor is the state of the trunk, which learns before the cut, as quantizers do.
It is taken every `EVERY_DAYS`, from what lies before, and a request is told the last one, in each
of `WAYS`.  Rankers learn from slates after the cut, so that they see vectors as good as those that
they will be asked with: the trunk knows the answers of earlier slates.  They are judged on the last
of these slates, and read no history.

Every seed is a market of its own and a training of its own; a ranker has no seed.  A killed run
resumes behind the last whole piece.

Legend: R requests, M positions, S shown rows, D width, U investors, V items with padding first.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import Any, cast, get_args

import ibis
import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch.nn import functional

from benchmarks.common import ROOT, Kept, each, write_result
from benchmarks.generate import MARKET_ITSELF, drawn
from benchmarks.generate import params_of as small_market
from benchmarks.investor_ranker import Rows, fitted
from benchmarks.investor_ways import WAYS, WORDS, Told, Vectors
from benchmarks.places import run_alone, turned
from tessera.contracts.arrays import Bools, Float32s
from tessera.contracts.arrow import DAY_US
from tessera.contracts.split import VALIDATION
from tessera.model.nn.device import threads
from tessera.model.nn.ranking import CLICK
from tessera.model.params import FeatureGroup, HstuParams
from tessera.model.sequences.catalogue import microsecond
from tessera.model.sequences.dataset import Dataset
from tessera.model.sequences.exposure_log import Log, Sources
from tessera.model.sequences.reading import read_dataset
from tessera.model.sequences.slates import Slates
from tessera.model.sequences.windows import last_windows
from tessera.model.trunk.inference import trunk_states
from tessera.model.trunk.model import SequenceModel
from tessera.model.trunk.saved import load_model
from tessera.platform.workspace.params import Sections
from tessera.platform.workspace.paths import DEFAULT_PROFILE, Workspace
from tessera.shared.metrics.slates import slate_auc

MARKET = {"users": 1_000, "items": 240, "requests": 48_000}
CUT = "2024-08-01"
BESIDE: dict[str, tuple[FeatureGroup, ...]] = {
    "few": ("user", "item", "price"),
    "all": get_args(FeatureGroup),
}
"""What the ranker is told besides: nothing of what this investor likes, or all that there is."""
EVERY_DAYS = 30
_LEARN, _CHECK = 0.5, 0.6
"""Rankers learn from the first half of what was shown after the cut; a tenth says when to stop."""
_COLD = 0.25
"""Share of the requests, those of investors of whom the fewest events were known."""


def params_of(seed: int) -> Sections:
    """Return the params of a market of this seed."""
    return turned(small_market(seed), {"synth": {**MARKET, "seed": seed}})


@dataclass(frozen=True, slots=True)
class Period:
    """Slates of a period, and which they are of all."""

    chosen_R: Bools
    slates: Slates

    def rows(self, told: Told) -> Rows:
        """Lay the shown rows one after the other, with what is told of the investor.

        Two slates of two items and one of one are five rows; the first investor's codeword stands
        in the first two of them.
        """
        slates, is_shown_RM = self.slates, self.slates.item_RM > 0
        shown_R, item_S = is_shown_RM.sum(1), slates.item_RM[is_shown_RM]
        dense_SX, field_SK = (
            np.repeat(value_RX[self.chosen_R], shown_R, axis=0)
            for value_RX in (told.dense_RX, told.field_RK)
        )
        return Rows(
            torch.from_numpy(slates.feature_RMF[is_shown_RM]),
            torch.from_numpy(dense_SX),
            torch.from_numpy(field_SK),
            torch.from_numpy(item_S),
            torch.from_numpy(slates.position_RM[is_shown_RM]),
            torch.from_numpy(slates.label_RMT[..., CLICK][is_shown_RM]),
            torch.from_numpy(slates.weight_RMT[..., CLICK][is_shown_RM]),
        )


def vectors_of(model: SequenceModel, dataset: Dataset, log: Log, seed: int) -> Vectors:
    """Encode the investor of every request as of the last snapshot, strictly before it."""
    histories, length = dataset.histories, model.shape.length
    step, cut = EVERY_DAYS * DAY_US, microsecond(dataset.split.cut)
    user_R, since_R = log.slates.user_R, cut + (log.slates.moment_R - cut) // step * step
    first_R, stop_R = histories.stretches_before(user_R, since_R)
    windows = last_windows(first_R, stop_R, since_R // 1_000_000, length)
    known_U = np.flatnonzero(histories.until(VALIDATION) > histories.first_U1[:-1])
    cut_U = np.full(len(known_U), cut)
    stretches = histories.stretches_before(known_U, cut_U)
    learn = last_windows(*stretches, cut_U // 1_000_000, length)
    with torch.inference_mode():
        item_VD = functional.normalize(model.items(), dim=-1).numpy()
    return Vectors(
        trunk_states(model, histories, windows),
        windows.stop_W - first_R,
        trunk_states(model, histories, learn).astype(np.float64),
        item_VD,
        seed,
    )


def periods_of(log: Log, groups: tuple[str, ...], window_days: float) -> list[Period]:
    """Cut the slates after the cut in three; whose answers reach into the next are left out."""
    later_R, moment_R = log.matured[2], log.slates.moment_R
    bounds = [*np.quantile(moment_R[later_R], [0.0, _LEARN, _CHECK]), moment_R.max() + 1]
    reach = window_days * DAY_US
    ends = [bounds[1] - reach, bounds[2] - reach, bounds[3]]
    chosen = [later_R & (moment_R >= begin) & (moment_R < end)
              for begin, end in zip(bounds[:3], ends, strict=True)]  # fmt: skip
    return [Period(part_R, log.examples(part_R, groups)[1]) for part_R in chosen]


def ranked(told: Told, periods: list[Period], item_VD: Float32s) -> Float32s:
    """Fit a ranker to the first two periods and return its logits of the last, all at the top."""
    learn, check, later = (period.rows(told) for period in periods)
    positions = max(int(period.slates.position_RM.max()) for period in periods) + 1
    ranker = fitted(learn, check, torch.from_numpy(item_VD), WORDS + 1, positions)
    with torch.inference_mode():
        at_top_S = ranker(replace(later, position_S=torch.ones_like(later.position_S)))
    slates = periods[-1].slates
    logit_RM = np.zeros(slates.item_RM.shape, np.float32)
    logit_RM[slates.item_RM > 0] = at_top_S.numpy()
    return logit_RM


def aucs(logit_RM: Float32s, slates: Slates, is_cold_R: Bools) -> dict[str, float]:
    """Return the click AUC of all shown rows, of cold and of warm investors, and within slates."""
    known_RM = (slates.weight_RMT[..., CLICK] > 0) & (slates.item_RM > 0)
    label_RM = slates.label_RMT[..., CLICK]

    def auc(part_R: Bools) -> float:
        counts_RM = known_RM & part_R[:, None]
        return float(roc_auc_score(label_RM[counts_RM] > 0, logit_RM[counts_RM]))

    return {
        "auc": auc(np.ones_like(is_cold_R)),
        "cold": auc(is_cold_R),
        "warm": auc(~is_cold_R),
        "slate": slate_auc(logit_RM, label_RM, known_RM),
    }


def compared(workspace: Workspace, seed: int, beside: str) -> dict[str, Any]:
    """Rank the last slates with each way to tell of the investor."""
    params = HstuParams.model_validate(params_of(seed)["hstu"].model_dump())
    tables = {name: ibis.read_parquet(workspace.artifact(name)) for name in Sources.__annotations__}
    scratch = workspace.data / ".scratch" / "investors"
    dataset = read_dataset(Sources(**tables), workspace.artifact("split"), scratch, params)
    model, _ = load_model(workspace.artifact("model"))
    log = cast(Log, dataset.log)
    vectors = vectors_of(model, dataset, log, seed)
    periods = periods_of(log, BESIDE[beside], params.window_days)
    judged = periods[-1]
    events_R = vectors.events_R[judged.chosen_R]
    is_cold_R = events_R <= np.quantile(events_R, _COLD)
    found: dict[str, Any] = {}
    for name, way in WAYS.items():
        told = way(vectors)
        measures = aucs(ranked(told, periods, vectors.item_VD), judged.slates, is_cold_R)
        found[name] = {"bits": told.bits, **{key: round(one, 4) for key, one in measures.items()}}
    facts = {"requests": len(is_cold_R), "cold_events": int(events_R[is_cold_R].max())}
    return {"ways": found, **facts}


def measured(piece: tuple[int, str]) -> dict[str, Any]:
    """Draw the market of a seed and train on it, or compare what rankers are told beside."""
    seed, part = piece
    workspace = Workspace(ROOT / "data" / "bench" / f"investor-codes-{seed}", DEFAULT_PROFILE)
    if part == MARKET_ITSELF:
        drawn(workspace, params_of(seed), cut=CUT)
        run_alone(workspace, "hstu", params_of(seed))
        return {}
    with threads(1):
        return compared(workspace, seed, part)


def main() -> None:
    """Measure and write results/investor_codes.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    pieces = [(seed, part) for seed in given.seeds for part in (MARKET_ITSELF, *BESIDE)]
    kept = Kept("investor_codes", MARKET)
    found = dict(zip(pieces, each(measured, pieces, "markets", kept), strict=True))
    seeds = {str(seed): {part: found[seed, part] for part in BESIDE} for seed in given.seeds}
    facts = {"market": MARKET, "cut": CUT, "every_days": EVERY_DAYS}
    write_result("investor_codes", {"seeds": seeds, **facts})


if __name__ == "__main__":
    main()
