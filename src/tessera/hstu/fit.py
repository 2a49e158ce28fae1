"""From arrays to a trained model: shape, lessons, validation, and the refit if asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from tessera.contracts.errors import BrokenBundle
from tessera.contracts.split import Split
from tessera.hstu.histories import VALIDATION, Histories
from tessera.hstu.model import SequenceModel, Shape, load_model
from tessera.hstu.params import HstuParams
from tessera.hstu.scoring import encode, item_vectors, ndcg, placed, top_items
from tessera.hstu.sequences import last_windows
from tessera.hstu.train import Lessons, Trained, Validate, train
from tessera.hstu.world import Catalogue, action_codes, ask, learn_until

VALIDATION_K = 10


@dataclass(frozen=True, slots=True)
class World:
    """Everything a model is fitted on."""

    split: Split
    catalogue: Catalogue
    codes_VC: Tensor
    """No columns when codes are not used."""
    histories: Histories


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Use so many threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fit(
    kind: Literal["hstu", "sasrec"], world: World, params: HstuParams, scratch: Path | None
) -> Trained:
    """Train one model with early stopping; with `refit`, once more on all that is known."""
    shape = _shape(kind, world, params)
    validate = _validation(world, params)
    first = train(shape, world.codes_VC, _lessons(world, params, refit=False), validate, params,
                  scratch / "search" if scratch else None)  # fmt: skip
    if not params.refit:
        return first
    epochs = first.place.best_epoch or first.place.epoch
    again = train(shape, world.codes_VC, _lessons(world, params, refit=True), None,
                  params.model_copy(update={"epochs": max(1, epochs)}),
                  scratch / "refit" if scratch else None)  # fmt: skip
    again.place.best_ndcg = first.place.best_ndcg
    return again


def _shape(kind: Literal["hstu", "sasrec"], world: World, params: HstuParams) -> Shape:
    return Shape(
        kind=kind,
        width=params.width,
        blocks=params.blocks,
        heads=params.heads,
        length=params.length,
        dropout=params.dropout,
        id_dropout=params.id_dropout,
        time_bias=params.time_bias and not world.split.ordinal,
        position_bias=params.position_bias,
        tied_sets=params.tied_sets,
        items=len(world.catalogue.vocabulary) + 1,
        code_sizes=tuple(int(level_V.max()) + 1 for level_V in world.codes_VC.T),
    )


def _lessons(world: World, params: HstuParams, *, refit: bool) -> Lessons:
    stop_U = learn_until(world.histories, refit=refit)
    return Lessons(world.histories, stop_U, action_codes(params.targets))


def _validation(world: World, params: HstuParams) -> Validate | None:
    """Return nDCG@10 on the validation period as a function; None if nobody can be asked."""
    question = ask(world.histories, world.split, params, VALIDATION)
    if not len(question.relevant[0]):
        return None
    first_Q = world.histories.first_U1[question.user_Q]
    windows = last_windows(first_Q, question.stop_Q, question.request_Q, params.length)
    allowed_V = world.catalogue.candidates_V(world.split, world.split.validation_from, params)
    seen = question.seen if params.filter_seen else None

    def validate(model: SequenceModel) -> float:
        state_QD = encode(model, world.histories, windows)
        rankable_V = allowed_V & placed(model)
        lists = top_items(state_QD, item_vectors(model), rankable_V, seen, VALIDATION_K)
        return ndcg(lists, question.relevant, len(allowed_V))

    return validate


def load_champion(bundle: Path) -> tuple[SequenceModel, list[str]] | None:
    """Return the champion's model and vocabulary; None if the champion is no model.

    Raises
    ------
    BrokenBundle
        If the bundle does not say what the champion is, or its model cannot be read.
    """
    try:
        kind = json.loads((bundle / "champion.json").read_text())["kind"]
    except (OSError, KeyError, ValueError) as error:
        raise BrokenBundle(f"{bundle} has no readable champion.json; publish it again") from error
    return load_model(bundle / "model") if kind == "model" else None
