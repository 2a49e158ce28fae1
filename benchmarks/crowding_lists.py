"""What lists by a trunk hold of items that nobody ever acquired, and why they come so far up.

Legend: Q people who are asked, V items with padding first, M mixes, U people with something
relevant, K positions of a list, N test investors, I items of the holdout, G groups of items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.model.nn.batch import PADDING
from tessera.model.sequences.questions import Lists, Question, action_codes
from tessera.model.sequences.windows import Batcher
from tessera.model.training.fit import Task
from tessera.model.training.vector_mix import steady
from tessera.model.trunk.inference import placed, trunk_states
from tessera.model.trunk.model import SequenceModel
from tessera.shared.metrics import ranking

K = 10
PRIOR = "prior"
PRIORS = (0.05, 0.1, np.inf)
"""What an item that no event names may lose beside a cosine; infinity lists none of them."""
QUARTERS, FEW = 4, 3
Mix = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Said:
    """What a model and its closed forms say of every item to those who ask."""

    asked: Question
    model: SequenceModel
    state_QD: Tensor
    trunk: dict[bool, Tensor]
    parts: dict[str, Tensor]

    @classmethod
    def of(cls, model: SequenceModel, task: Task, period: int) -> Self:
        """Ask of the validation or the test period."""
        asked, histories = task.dataset.ask(period, task.params), task.dataset.histories
        state_QD = torch.from_numpy(trunk_states(model, histories, asked.windows))
        batch, found = Batcher(histories).batch(asked.windows), model.closed_form
        with torch.inference_mode():
            unit_VD = functional.normalize(model.items(), dim=-1)
            had_QV = found.had(batch.item_BL, batch.action_BL)
            scores = found.scores(state_QD, had_QV, unit_VD, model.placed_V())
        return cls(asked, model, state_QD, *scores)

    @property
    def never_V(self) -> Bools:
        """Which items on sale no event names that was learnt from."""
        return np.asarray(~self.model.warm_V.numpy() & self.asked.allowed_V)

    def mixes(self) -> list[dict[str, float]]:
        """Return what the closed forms may count with each prior; the trend counts as published."""
        own, every = self.model.closed_form.mix, self.model.closed_form.choices()
        mixes = [mix for mix in every if np.isclose(mix["trend"], own["trend"])]  # held as float32
        bare = dict.fromkeys(own, 0.0)
        plain = [{**own, PRIOR: 0.0}, {**bare, PRIOR: 0.0}]
        return [*plain, *({**mix, PRIOR: prior} for prior in PRIORS for mix in (bare, *mixes))]

    def values(self, mixes: list[dict[str, float]]) -> Float64s:
        """Return value_MU, nDCG@10 of each mix for each person with something relevant."""
        return np.stack([self.asked.each(*self._scores(mix)) for mix in mixes])

    def lists(self, mix: Mix, top: int = K) -> Lists:
        """List by a mix; where a list is shorter, padding."""
        score_QV, placed_V = self._scores(mix)
        score_QV[:, torch.from_numpy(~(self.asked.allowed_V & placed_V))] = -torch.inf
        if self.asked.seen is not None:
            score_QV[self.asked.seen] = -torch.inf
        found_QK = ranking.top_items(score_QV.numpy(), top)
        item_QK = np.where(found_QK < 0, PADDING, found_QK)
        score_QK = np.take_along_axis(score_QV.numpy(), item_QK, axis=1)
        return Lists(item_QK, np.where(found_QK < 0, np.float32(-np.inf), score_QK))

    def _scores(self, mix: Mix) -> tuple[Tensor, Bools]:
        found, prior = self.model.closed_form, mix.get(PRIOR, 0.0)
        found.let(**{name: weight for name, weight in mix.items() if name != PRIOR})
        score_QV = self.trunk[found.places_all].clone()
        for name, weight in found.mix.items():
            if weight:
                score_QV += weight * self.parts[name]
        if prior:
            score_QV[:, torch.from_numpy(self.never_V)] -= prior
        return score_QV, placed(self.model)


def chosen(said: Said) -> dict[str, dict[str, float]]:
    """Return the mix of each way to list, chosen on the validation period that `said` is of.

    `trunk` is the cosine alone and `hstu` what is published.  Behind them stands what is done
    about items that nobody acquired: nothing, `_prior` what validation wants, `_never` none.
    """
    mixes = said.mixes()
    value_MU = said.values(mixes)
    own, bare = mixes[:2]

    def best(fits: Callable[[dict[str, float]], bool], plain: dict[str, float]) -> dict[str, float]:
        kept = [m for m, mix in enumerate(mixes) if mix == plain or fits(mix)]
        return mixes[kept[steady([mixes[m] for m in kept], [value_MU[kept]])]]

    def is_bare(mix: dict[str, float]) -> bool:
        return not any(weight for name, weight in mix.items() if name != PRIOR)

    return {
        "trunk": bare,
        "trunk_prior": best(is_bare, bare),
        "trunk_never": {**bare, PRIOR: np.inf},
        "hstu": own,
        "hstu_prior": best(lambda _: True, own),
        "hstu_never": best(lambda mix: mix[PRIOR] == np.inf, {**own, PRIOR: np.inf}),
    }


def why(said: Said, task: Task) -> dict[str, Any]:
    """Tell the cosines of items never acquired beside those of traded ones, by their investors.

    Cosines are means over the people asked; an item's own vector is left out for `code`.
    """
    model, allowed_V, never_V = said.model, said.asked.allowed_V, said.never_V
    codes_VC = model.codes_VC.numpy()
    warm_V = model.warm_V.numpy() & allowed_V
    with torch.inference_mode():
        seen = model.item_input(model.item_VD, model.codes_VC, torch.zeros_like(model.warm_V))
        code_V, full_V = (_mean_cosine(said.state_QD, one) for one in (seen, model.items()))
    histories = task.dataset.histories
    known = histories.acquired_before(
        histories.learnt_until(refit=False), action_codes(task.params.targets)
    )
    count_V = np.bincount(known.item_N, minlength=len(warm_V))
    warm_G = np.array_split(
        np.flatnonzero(warm_V)[np.argsort(count_V[warm_V], kind="stable")], QUARTERS
    )
    relevant_N = said.asked.relevant[1]
    return {
        "traded": int(warm_V.sum()),
        "never": int(never_V.sum()),
        "acquired": int(allowed_V[relevant_N].sum()),
        "never_acquired": int(never_V[relevant_N].sum()),
        "share_code": [int(shared(codes_VC, never_V, warm_V, levels + 1).sum())
                       for levels in range(codes_VC.shape[1])],
        "quarters": [{"most": int(count_V[of].max()), "full": float(full_V[of].mean()),
                      "code": float(code_V[of].mean())} for of in warm_G],
        "never_cosine": float(full_V[never_V].mean()),
        "crowding": _crowding(said, shared(codes_VC, never_V, warm_V, 1)),
    }  # fmt: skip


def _crowding(said: Said, known_first_F: Bools) -> dict[str, float]:
    """Tell which of the items never acquired the cosine lists, and what part of it is whose own.

    `known_first_F` tells of each of them whether a traded item shares its first codeword.
    """
    model, never_V = said.model, said.never_V
    item_QK = said.lists(dict.fromkeys(model.closed_form.mix, 0.0)).item_UK
    times_V = np.bincount(item_QK.ravel(), minlength=len(never_V)).astype(np.float64)
    never_F, traded_V = times_V[never_V], times_V * ~never_V
    with torch.inference_mode():
        whole_VD, bare = model.items(), torch.zeros_like(model.warm_V)
        own_VD = whole_VD - model.item_input(model.item_VD, model.codes_VC, bare)
        length_V = whole_VD.norm(dim=-1)
        own_V = ((own_VD @ said.state_QD.mean(0)) / length_V).numpy()
        whole_V = ((whole_VD @ said.state_QD.mean(0)) / length_V).numpy()
    most = np.sort(never_F)[::-1][:FEW].sum()
    listed = max(1.0, float(never_F.sum()))
    return {
        "share": float(never_F.sum() / times_V.sum()),
        "known_first": float(never_F[known_first_F].sum() / listed),
        "by_few": float(most / listed),
        "own_listed": float((traded_V @ own_V) / (traded_V @ whole_V)),
    }


def shared(codes_VC: Ints, of_V: Bools, with_V: Bools, levels: int) -> Bools:
    """Tell of some items which share so many first codewords with one of the others."""
    others = {tuple(code) for code in codes_VC[with_V, :levels].tolist()}
    return np.array([tuple(code) in others for code in codes_VC[of_V, :levels].tolist()], np.bool_)


def _mean_cosine(state_QD: Tensor, item_VD: Tensor) -> Float64s:
    return np.asarray((state_QD.mean(0) @ functional.normalize(item_VD, dim=-1).T).numpy())
