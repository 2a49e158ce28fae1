"""Five places where a model takes another component, and which there are to choose from.

A component is a frozen dataclass of its settings in a module of its own: it builds what learns, or
is the loss itself.  To add one: write the module, give it a name in the registry of its kind, and
name it in the law suite of the kind (`tests/laws`).  Where a person chooses between several, their
names are a `Literal` in the params and their settings travel inside the component: nothing else of
the model knows of them.

Legend: V items with padding first, D width, C code levels, B sequences, L positions, N requests,
M candidates of a request, I inputs, T tasks, R rows of states.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

from torch import Tensor, nn

from tessera.model.nn.codewords import CodewordSettings
from tessera.model.nn.cross_entropy import CrossEntropy
from tessera.model.nn.hidden_net import HiddenSettings
from tessera.model.nn.level_nets import LevelNetSettings
from tessera.model.nn.own_share import OwnShareSettings
from tessera.model.nn.prefix_memory import PrefixSettings
from tessera.model.nn.ranking import RankingLabels
from tessera.model.nn.recency import RecencySettings


class ItemInput(Protocol):
    """Makes the vectors of items from a table of their own and what else is known of them."""

    def build(self, width: int) -> nn.Module:
        """Return a module: (item_VD, codes_VC, warm_V) to item_VD.

        Rows that were not seen while training (`warm_V` is false) have an own vector that nobody
        learnt.
        """
        ...


class StatePart(Protocol):
    """Adds something to the outputs of the trunk; begins as the identity."""

    def build(self, width: int, dropout: float) -> nn.Module:
        """Return a module: (x_BLD, View) to x_BLD; a row sees no event that its mask hides."""
        ...

    def flops(self, width: int, events: int) -> int:
        """Return what the matrix products of one history cost."""
        ...


class RankNet(Protocol):
    """Says how likely each answer to a candidate is."""

    def build(self, inputs: int, tasks: int) -> nn.Module:
        """Return a module: input_NMI to logit_NMT, each candidate by itself."""
        ...

    def flops(self, inputs: int, tasks: int) -> int:
        """Return what the matrix products of one candidate cost."""
        ...


class RankObjective(Protocol):
    """What the ranking head minimises; its logits must stay log odds, as they are served."""

    def __call__(
        self, logit_NMT: Tensor, answers: RankingLabels, total_T: Tensor | None = None
    ) -> Tensor:
        """Return the loss; `total_T` is the weight of all known answers where more count than here.

        With it, the losses of the parts of a batch add up to that of the whole.
        """
        ...


class GenerativeHead(Protocol):
    """Says in which direction the next codeword of an item lies."""

    def build(self, width: int, levels: int) -> nn.Module:
        """Return a module: (unit state_RD, prefix_RD, level) to asking_RD, of any length.

        `prefix_RD` is the sum of the unit codewords chosen so far, zero at the first level.
        """
        ...


ITEM_INPUTS: dict[str, type[ItemInput]] = {
    "codewords": CodewordSettings,
    "prefix": PrefixSettings,
    "weighed": OwnShareSettings,
}
STATE_PARTS: dict[str, type[StatePart]] = {"recency": RecencySettings}
RANK_NETS: dict[str, type[RankNet]] = {"hidden": HiddenSettings}
RANK_OBJECTIVES: dict[str, type[RankObjective]] = {"cross_entropy": CrossEntropy}
GENERATIVE_HEADS: dict[str, type[GenerativeHead]] = {"level_nets": LevelNetSettings}

KINDS: Mapping[str, Mapping[str, type[Any]]] = {
    "item_input": ITEM_INPUTS,
    "state_part": STATE_PARTS,
    "rank_net": RANK_NETS,
    "rank_objective": RANK_OBJECTIVES,
    "generative_head": GENERATIVE_HEADS,
}


def name_of(kind: str, component: object) -> str:
    """Return the name of a component.

    Raises
    ------
    ValueError
        If it has none.
    """
    for name, made in KINDS[kind].items():
        if type(component) is made:
            return name
    raise ValueError(f"{type(component).__name__} has no name among the {kind}s of nn/plugs.py")


def written(kind: str, component: Any) -> dict[str, Any]:
    """Return name and settings as a file holds them."""
    return {"name": name_of(kind, component), **asdict(component)}


def read(kind: str, raw: Mapping[str, Any]) -> Any:
    """Return the component that `written` told of.

    Raises
    ------
    KeyError, TypeError
        If there is none of this name, or with such settings.
    """
    settings = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in raw.items()
        if name != "name"
    }
    return KINDS[kind][raw["name"]](**settings)
