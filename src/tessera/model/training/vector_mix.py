"""How much each closed form counts beside the trunk: what is best on the validation period.

The trunk is not trained again: its states are taken once, and every mix is tried on them.

Legend: Q people who are asked, U of them with something relevant, B some of them, L positions,
V items with padding first, M mixes, D width.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tessera.contracts.arrays import Float32s, Float64s
from tessera.contracts.arrow import DAY_US
from tessera.model.nn.batch import Batch
from tessera.model.nn.device import device_of
from tessera.model.params import ClosedFormParams
from tessera.model.sequences.dataset import Past
from tessera.model.sequences.questions import Question, action_codes
from tessera.model.trunk.closed_form import ClosedForm
from tessera.model.trunk.demand import Demand, Trend
from tessera.model.trunk.inference import placed
from tessera.model.trunk.item_weights import ItemWeights
from tessera.model.trunk.model import SequenceModel
from tessera.model.trunk.profit import Profit
from tessera.shared.features.demand import expected_gains, mean_gains
from tessera.shared.metrics.choice import as_good_as_best

_AT_ONCE = 512
"""People whose scores of every item are held in memory."""
_AGEING = ("trend", "demand")
"""Parts that know a time; what they knew is sooner wrong than what goes together."""


def choose_mix(model: SequenceModel, value_MU: Float64s) -> float | None:
    """Let each closed form count as the validation period wants it, and no more than it can tell.

    Parameters
    ----------
    value_MU
        See `mix_values`; empty if none can be chosen.

    Returns
    -------
    float or None
        The nDCG@10 of that mix on the people it was tried on, so a little too high; None where
        there was nothing to choose.
    """
    if not value_MU.size:
        return None
    choices = list(model.closed_form.choices())
    chosen = steady(choices, [value_MU])
    model.closed_form.let(**choices[chosen])
    return float(value_MU[chosen].mean())


def steady(choices: list[dict[str, float]], periods: list[Float64s]) -> int:
    """Return the choice with the least trend, then demand, that is as good as the best.

    As good is: `as_good_as_best`.  Trend and demand age with the market; beyond what the period can
    tell apart they do harm in the next one.

    Parameters
    ----------
    choices
        M mixes.
    periods
        value_MU of one or several validation periods, each with its own people.
    """
    mean_M = np.mean([value_MU.mean(axis=1) for value_MU in periods], axis=0)
    good = np.flatnonzero(as_good_as_best(periods))
    ageing = [tuple(choices[m].get(name, 0.0) for name in _AGEING) for m in good]
    return int(min(zip(ageing, -mean_M[good], good, strict=True))[-1])


def mix_values(model: SequenceModel, asked: Question, state_QD: Float32s, batch: Batch) -> Float64s:
    """Return value_MU: nDCG@10 of each choice for each person asked, with something relevant.

    The closed forms are left with the last choice.

    Parameters
    ----------
    asked
        Question of the validation period.
    state_QD, batch
        States of the trunk at the end of its windows, and the windows.
    """
    rows, parts = np.arange(len(state_QD)), []
    for some in np.split(rows, range(_AT_ONCE, len(rows), _AT_ONCE)):
        item_BL, action_BL = batch.item_BL[some], batch.action_BL[some]
        parts.append(_part_values(model, asked.take(some), state_QD[some], item_BL, action_BL))
    return np.concatenate(parts, axis=1)


def _part_values(
    model: SequenceModel, asked: Question, state_QD: Float32s, item_BL: Tensor, action_BL: Tensor
) -> Float64s:
    """Try every choice on some of the people; what each part says is computed once."""
    found, device = model.closed_form, device_of(model)
    with torch.inference_mode():
        unit_VD = functional.normalize(model.items(), dim=-1)
        trunk, said = found.scores(
            torch.from_numpy(state_QD).to(device),
            found.had(item_BL.to(device), action_BL.to(device)),
            unit_VD,
            model.placed_V(),
        )
        values = []
        for mix in found.choices():
            found.let(**mix)
            score_QV = trunk[found.places_all].clone()
            for name, weight in found.mix.items():
                score_QV += weight * said[name]
            values.append(asked.each(score_QV.cpu(), placed(model)))
    return np.stack(values)


def learn_closed_form(found: ClosedForm, past: Past, params: ClosedFormParams) -> None:
    """Learn each part from what was known; the trend is held against what the trunk was taught."""
    found.like(action_codes(params.targets))
    gain_V, mean_V = np.zeros(0), np.zeros(0)
    if "demand" in found.parts:
        gain_V = expected_gains(past.acquired, past.sale, past.now, params.demand_days)
        mean_V = mean_gains(past.acquired, len(gain_V), past.taught, params.demand_days)
    for part in found.parts.values():
        if isinstance(part, ItemWeights):
            part.learn(past.acquired, params.item_weights_l2)
        elif isinstance(part, Demand):
            part.learn(past.acquired, past.sale, gain_V)
        elif isinstance(part, Trend):
            part.learn(gain_V, mean_V)
        elif isinstance(part, Profit) and past.closes is not None:
            part.learn(past.closes, past.sale.class_V, past.now // DAY_US)
