"""How fast HSTU trains beside a plain implementation, and how long one request takes.

MovieLens-1M batches: 128 sequences of up to 200 events, width 50, 2 blocks, 1 head, dropout .2,
float32, two threads; forward, backward and optimizer step. Reference and model see the same
sequences and are timed in turns. Usage: python -m benchmarks hstu, with TESSERA_DATA naming the
folder that holds movielens-1m; without it the lengths and times are made up, and the result says
so.

Legend: B sequences, L positions, V items with padding first, W warm items, N targets.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import write_result
from benchmarks.hstu_data import Sequences, sequences
from benchmarks.hstu_parts import Parts, parts_of_a_step, products, seconds_of
from benchmarks.hstu_reference import ReferenceModel, reference_loss
from tessera.model.nn.loss import draw_negatives, full_softmax, sampled_softmax, shared_softmax
from tessera.model.nn.ranking import RankingBatch
from tessera.model.nn.tiles import View
from tessera.model.trunk.flops import one_trunk_flops, two_encoders_flops, two_pruned_encoders_flops
from tessera.model.trunk.model import SequenceModel, Shape, states_at

_BATCH, _LENGTH, _WIDTH, _BLOCKS, _DROPOUT = 128, 200, 50, 2, 0.2
_BATCHES, _ROUNDS, _THREADS, _SEED = 8, 5, 2, 0
_CANDIDATES, _FEATURES, _RANK_HIDDEN, _CALLS, _WARM_CALLS = 200, 60, 32, 1000, 20
_NEGATIVES, _SHARED, _RUN, _TEMPERATURE = 128, 512, 512, 0.05
_EVENTS = (50, 100, 200)

Step = Callable[[], None]


def _reference_step(items: int, *, normalised_first: bool) -> Callable[[Sequences], None]:
    model = ReferenceModel(
        items, width=_WIDTH, blocks=_BLOCKS, heads=1, length=_LENGTH, dropout=_DROPOUT
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98))

    def step(part: Sequences) -> None:
        optimizer.zero_grad()
        state_BLD = model(part.item_BL, part.second_BL, part.request_BL)
        loss = reference_loss(model, state_BLD, part.target_BL, normalised_first=normalised_first)
        loss.backward()
        optimizer.step()

    return step


def _model(items: int) -> SequenceModel:
    shape = Shape(
        "hstu", _WIDTH, _BLOCKS, 1, _LENGTH, _DROPOUT, 0.0, True, True, False, items, ()
    )  # fmt: skip
    codes_VC = torch.empty(items, 0, dtype=torch.long)
    return SequenceModel(shape, codes_VC, torch.ones(items, dtype=torch.bool))


def _own_step(items: int, loss_of: str) -> Callable[[Sequences], None]:
    model, warm_W = _model(items).train(), torch.arange(1, items)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), fused=True)

    def step(part: Sequences) -> None:
        sequence_N, state_N = torch.nonzero(part.target_BL, as_tuple=True)
        target_N = part.target_BL[sequence_N, state_N]
        optimizer.zero_grad()
        item_VD = model.items()
        state_ND = states_at(model, model(part.batch(), item_VD), sequence_N, state_N)
        _loss(loss_of, state_ND, item_VD, target_N, warm_W).backward()
        optimizer.step()

    return step


def _loss(kind: str, state_ND: Tensor, item_VD: Tensor, target_N: Tensor, warm_W: Tensor) -> Tensor:
    if kind == "full":
        return full_softmax(state_ND, item_VD, target_N, warm_W, _TEMPERATURE)
    if kind == "shared":
        negative_GM = draw_negatives(warm_W, -(-len(target_N) // _RUN), _SHARED)
        return shared_softmax(state_ND, item_VD, target_N, negative_GM, _TEMPERATURE)
    negative_NM = draw_negatives(warm_W, len(target_N), _NEGATIVES)
    return sampled_softmax(state_ND, item_VD, target_N, negative_NM, _TEMPERATURE)


def _layers_alone(items: int, part: Sequences) -> dict[str, Step]:
    """Forward and backward of the two layers, both padded to the full length."""
    reference = ReferenceModel(
        items, width=_WIDTH, blocks=_BLOCKS, heads=1, length=_LENGTH, dropout=_DROPOUT
    )
    model, batch = _model(items).train(), part.batch()
    x_BLD = torch.randn(*part.item_BL.shape, _WIDTH, requires_grad=True)
    signal_BLD = torch.randn_like(x_BLD)

    def plain() -> None:
        reference.stack(x_BLD, part.second_BL, part.request_BL).backward(signal_BLD)

    def own() -> None:
        real_BL1 = (part.item_BL > 0).float()[:, :, None]
        view = View(batch.group_BL, batch.second_BL, batch.request_BL, real_BL1)
        out_BLD = x_BLD
        for layer in model.layers:
            out_BLD = layer(out_BLD, view)
        out_BLD.backward(signal_BLD)

    return {"reference layers": plain, "layers": own}


def in_turns(steps: dict[str, list[Step]]) -> dict[str, list[float]]:
    """Time each variant on each batch, round after round; seconds of a pass over all batches."""
    for name in steps:
        steps[name][0]()
    passes: dict[str, list[float]] = {name: [0.0] * _ROUNDS for name in steps}
    for turn in range(_ROUNDS):
        for index in range(max(len(batches) for batches in steps.values())):
            for name, batches in steps.items():
                if index < len(batches):
                    begun = time.perf_counter()
                    batches[index]()
                    passes[name][turn] += time.perf_counter() - begun
    return passes


def training(part: Sequences, items: int) -> dict[str, float]:
    """Sequences a second of the reference and of each step of the way to the model."""
    by_chance = torch.arange(len(part.item_BL)).split(_BATCH)
    size_B = (part.item_BL > 0).sum(1)
    sorted_inside = [rows[size_B[rows].argsort(stable=True)] for rows in by_chance]
    by_length = size_B.argsort(stable=True).split(_BATCH)
    plans = {
        "reference": (_reference_step(items, normalised_first=True), by_chance),
        "reference_gathered": (_reference_step(items, normalised_first=False), by_chance),
        "same_padding": (_own_step(items, "own"), by_chance),
        "by_length": (_own_step(items, "own"), by_length),
        "by_length_full_softmax": (_own_step(items, "full"), by_length),
        "by_length_shared_negatives": (_own_step(items, "shared"), by_length),
        "random_batches_shared_negatives": (_own_step(items, "shared"), sorted_inside),
    }
    padded = {"reference", "reference_gathered", "same_padding"}
    steps: dict[str, list[Step]] = {
        name: [_bound(step, _batch(part, rows, is_padded=name in padded)) for rows in batches]
        for name, (step, batches) in plans.items()
    }
    alone = _layers_alone(items, _batch(part, by_chance[0], is_padded=True))
    steps |= {name: [step] for name, step in alone.items()}
    return _told(in_turns(steps))


def _batch(part: Sequences, rows: Tensor, *, is_padded: bool) -> Sequences:
    if not is_padded:
        return part.take(rows)
    return Sequences(
        part.item_BL[rows], part.target_BL[rows], part.second_BL[rows], part.request_BL[rows]
    )


def _bound(step: Callable[[Sequences], None], part: Sequences) -> Step:
    return lambda: step(part)


def _told(passes: dict[str, list[float]]) -> dict[str, float]:
    layers = [passes.pop("reference layers"), passes.pop("layers")]
    told = {"ratio_layers_alone": round(_ratio(*layers), 2)}
    for name, seconds in passes.items():
        told[f"{name}_sequences_per_s"] = round(_BATCH * _BATCHES / statistics.median(seconds), 1)
        told[f"{name}_ratio"] = round(_ratio(passes["reference"], seconds), 2)
        against = _ratio(passes["reference_gathered"], seconds)
        told[f"{name}_ratio_to_gathered"] = round(against, 2)
    return told


def _ratio(reference: list[float], own: list[float]) -> float:
    """Median of the ratios of passes that ran side by side."""
    return statistics.median(a / b for a, b in zip(reference, own, strict=True))


def latency(part: Sequences, items: int) -> dict[str, float]:
    """Milliseconds of one history of 200 events on one thread: encode it, then rank candidates.

    The candidates' features are given: joining them is the work of `features`, not of the model.
    """
    plain = _model(items).eval()
    ranker = SequenceModel(_ranking_shape(items), plain.codes_VC, plain.warm_V).eval()
    longest = (part.item_BL > 0).sum(1).argmax()[None]
    history = part.take(longest)
    asked = RankingBatch(
        sequence_N=torch.zeros(1, dtype=torch.long),
        slot_N=torch.zeros(1, dtype=torch.long),
        second_N=history.request_BL[:, -1],
        state_N=torch.tensor([history.item_BL.shape[1] - 1]),
        item_NM=1 + torch.randperm(items - 1)[None, :_CANDIDATES],
        position_NM=torch.ones(1, _CANDIDATES, dtype=torch.long),
        feature_NMF=torch.randn(1, _CANDIDATES, _FEATURES),
    )
    item_VD, ranked_VD = plain.items(), ranker.items()

    def encode() -> None:
        plain(history.batch(), item_VD)

    def encode_and_rank() -> None:
        batch = history.batch()
        ranker.logits(batch, asked, ranker.encode(batch, ranked_VD), ranked_VD)

    told: dict[str, float] = {}
    with torch.inference_mode():
        for name, work in {"encode": encode, "encode_and_rank": encode_and_rank}.items():
            seconds = [seconds_of(work) for _ in range(_CALLS)]
            p50, p99 = np.percentile(seconds[_WARM_CALLS:], [50, 99]) * 1e3
            told |= {f"{name}_p50_ms": round(p50, 2), f"{name}_p99_ms": round(p99, 2)}
    return told


def _ranking_shape(items: int) -> Shape:
    return replace(
        _model(items).shape,
        rank_blocks=1,
        rank_hidden=_RANK_HIDDEN,
        features=tuple("f" * _FEATURES),
    )


def operations(items: int) -> dict[str, dict[str, float]]:
    """Return the operations of one trunk over those of two encoders, by events and by ranker."""
    told = {}
    for events in _EVENTS:
        shape = _ranking_shape(items)
        one = one_trunk_flops(shape, events, _CANDIDATES)
        told[str(events)] = {
            "unpruned": round(one / two_encoders_flops(shape, events, _CANDIDATES), 3),
            "pruned": round(one / two_pruned_encoders_flops(shape, events, _CANDIDATES), 3),
        }
    return told


def parts(part: Sequences, items: int) -> dict[str, dict[str, float]]:
    """Return where the time of a step goes, batches by length."""
    by_length = (part.item_BL > 0).sum(1).argsort(stable=True).split(_BATCH)
    warm_W = torch.arange(1, items)

    def loss(kind: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        return lambda state_ND, item_VD, target_N: _loss(kind, state_ND, item_VD, target_N, warm_W)

    rivals = {"full": len(warm_W), "shared": _SHARED}
    ways = {kind: Parts(_model(items).train(), loss(kind), count) for kind, count in rivals.items()}
    return parts_of_a_step(ways, [part.take(rows) for rows in by_length], _ROUNDS)


def main() -> None:
    """Measure and write benchmarks/results/hstu.json."""
    torch.manual_seed(_SEED)
    torch.set_num_threads(_THREADS)
    part, items, source = sequences(np.random.default_rng(_SEED), _BATCH * _BATCHES, _LENGTH)
    figures: dict[str, Any] = {
        "source": source,
        "seed": _SEED,
        "rounds": _ROUNDS,
        "threads": _THREADS,
        "mean_length": round(float((part.item_BL > 0).sum(1).float().mean()), 1),
        **products(_WIDTH),
        **training(part, items),
        "parts": parts(part, items),
        "operations": operations(items),
    }
    torch.set_num_threads(1)
    write_result("hstu", figures | latency(part, items))


if __name__ == "__main__":
    main()
