"""The shape of a model: what params ask for, as far as the data have what it is made of."""

from __future__ import annotations

from typing import Any, Literal

from tessera.contracts.arrow import DAY_US
from tessera.contracts.errors import BadParams
from tessera.contracts.split import Split
from tessera.model.nn.level_nets import LevelNetSettings
from tessera.model.nn.own_share import OwnShareSettings
from tessera.model.nn.plugs import GenerativeHead, ItemInput
from tessera.model.nn.prefix_memory import PrefixSettings
from tessera.model.nn.recency import log_spaced
from tessera.model.params import ModelParams
from tessera.model.sequences.dataset import Sizes
from tessera.model.trunk.model import Shape

_LEAST_LEVELS = 2


def choose_shape(
    kind: Literal["hstu", "sasrec"],
    sizes: Sizes,
    split: Split,
    params: ModelParams,
    features: tuple[str, ...] | None,
) -> Shape:
    """Return the shape of a model of a kind.

    Parameters
    ----------
    sizes, split
        Of what it is fitted on.
    features
        Names of the features of logged slates; None builds no ranking head.

    Raises
    ------
    BadParams
        If something is to be made of codes, and there are too few.
    """
    ranks = features is not None
    return Shape(
        kind=kind,
        width=params.width,
        blocks=params.blocks,
        heads=params.heads,
        length=params.length,
        dropout=params.dropout,
        id_dropout=params.id_dropout,
        time_bias=params.time_bias and not split.ordinal,
        position_bias=params.position_bias,
        tied_sets=params.tied_sets,
        items=sizes.items,
        code_sizes=sizes.code_sizes,
        guesses_actions=kind == "hstu" and params.mask_weight > 0 and sizes.actions > 1,
        rank_blocks=params.rank_blocks if ranks else 0,
        rank_hidden=params.rank_hidden if ranks else 0,
        feature_groups=params.features if ranks else (),
        features=features or (),
        score=params.score if ranks else "recall",
        uplift_weight=params.uplift_weight,
        window=params.window,
        edge_bias=sizes.has_edges,
        recency_s=_recency_s(split, params) if kind == "hstu" else (),
        item_input=_item_input(sizes.code_sizes, sizes.items, params),
        generative_head=_generative_head(sizes, params) if kind == "hstu" else None,
        **_closed_form(split, sizes, params) if kind == "hstu" else {},
    )


def _item_input(code_sizes: tuple[int, ...], items: int, params: ModelParams) -> ItemInput | None:
    """Say what makes vectors of codes; None is their sum, as in files of before."""
    if params.item_input == "codewords":
        return None
    if params.item_input == "weighed":
        if not code_sizes:
            raise BadParams(
                "hstu.item_input weighed weighs codes against an item's own vector: set "
                "hstu.use_codes to true"
            )
        return OwnShareSettings(code_sizes, params.id_dropout, items, params.own_share)
    if len(code_sizes) < _LEAST_LEVELS:
        raise BadParams(
            "hstu.item_input prefix remembers what stands above a codeword: it wants at least "
            f"{_LEAST_LEVELS} levels of codes, not {len(code_sizes)}"
        )
    return PrefixSettings(code_sizes, params.id_dropout, params.prefix_rows)


def _generative_head(sizes: Sizes, params: ModelParams) -> GenerativeHead | None:
    """Say what decodes codes; there have to be some."""
    if not params.generate:
        return None
    if not sizes.code_sizes:
        raise BadParams("hstu.generate decodes codes: set hstu.use_codes to true")
    return LevelNetSettings(params.width)


def _recency_s(split: Split, params: ModelParams) -> tuple[float, ...]:
    """Say where the scales of recency start, in seconds; an order of events has no scale."""
    if split.ordinal:
        return ()
    shortest, longest = (days * DAY_US / 1e6 for days in params.recency_days)
    return log_spaced(shortest, longest, params.recency_scales)


def _closed_form(split: Split, sizes: Sizes, params: ModelParams) -> dict[str, Any]:
    """Say which closed forms stand beside the trunk; those of time need one cut for all."""
    dated = split.protocol == "time"
    return {
        "item_weights_width": params.item_weights_width,
        "classes": sizes.classes if dated and params.demand_days else 0,
        "profits": dated and params.profit_weight > 0,
    }
