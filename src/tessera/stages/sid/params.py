"""What a person may turn in `sid`; any change starts a new generation of codes.

A new field changes no code until somebody turns it: write down in `LATER` the value that keeps
codes as they were without it.  Neither table may lose a line: names of generations hang on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from tessera.contracts.params import STRICT, Action, from_data, from_root

Value = str | int | float | bool | tuple[str, ...] | None

FIRST: Mapping[str, Value] = MappingProxyType({
    "quantizer": "rkmeans", "levels": 3, "codebook_size": None, "generation": 0,
    "text_encoder": "tfidf", "text_width": 64, "vocabulary": 20_000, "content_weight": 1.0,
    "neighbourhood_weight": 0.5, "topology_weight": 0.2, "iterations": 50, "epochs": 150,
    "batch_size": 1024, "hidden": 128, "latent": 32, "learning_rate": 0.001, "commitment": 0.25,
    "codeword_decay": 0.95, "dead_below": 1.0, "seed": 0,
})  # fmt: skip
"""Fields of the first generations with the values they were born with: these are always part of a
generation's name, so that codes given since then stay."""
LATER: Mapping[str, Value] = MappingProxyType({
    "fields_weight": 0.0, "price_weight": 0.0, "behaviour_weight": 0.0, "structure_weight": 0.0,
    "second_hop_weight": 0.0, "near_behaviour_weight": 0.0, "behaviour_width": 32,
    "acquired": ("buy", "rate"), "least_rating": 0.0, "coarse_levels": 1, "spread": 0.001,
    "contrast": 0.1, "contrast_temperature": 0.1, "graph_pull": 0.0, "order_pull": 0.0,
    "balanced": False, "coarse_blocks": (), "queries_weight": 0.0,
})  # fmt: skip
"""Fields added since, with the value that each was born with: part of a name only if they differ
from it."""
READ_BY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    dict.fromkeys(("acquired", "least_rating"), ("behaviour_weight", "near_behaviour_weight"))
)
"""Facts of the data that only some blocks read: no part of a name while all of these weigh 0, or
a profile that says them would have lost its codes the day a block could read them."""


SPLITS = ("rkmeans", "minibatch")
"""Quantizers whose codewords lie in the columns of the vectors, so that a level can leave some out;
RQ-VAE and DRQ mix all columns, and RQ-FSQ rounds along directions of all."""

_HEAVIEST = 1e6
"""No weight means more than that beside the others, and larger ones lose the others' digits."""


class SidParams(BaseModel):
    """Parameters of the stage `sid`."""

    model_config = STRICT

    quantizer: Literal["rkmeans", "minibatch", "rqvae", "rq_fsq", "drq"] = "rkmeans"
    """Residual k-means, the same from mini-batches, RQ-VAE, RQ-FSQ, or DRQ."""
    levels: int = Field(3, ge=1, le=8)
    """Codewords of an ID, before the collision suffix."""
    codebook_size: int | None = Field(None, ge=2, le=65_536)
    """Codewords of a level; by default the power of two nearest to items / 16, at most 256, which a
    catalogue below 256 items doubles until its codes tell the items apart."""
    generation: int = Field(0, ge=0)
    """Raise it to give every item a new code: a new codebook is learnt and frozen."""
    text_encoder: Literal["tfidf", "minilm"] = "tfidf"
    """TF-IDF with SVD, or sentence vectors (needs the extra `text`)."""
    text_width: int = Field(64, ge=2, le=1024)
    """Width of the content vector after SVD."""
    vocabulary: int = Field(20_000, ge=10, le=1_000_000)
    """At most so many terms, the most frequent."""
    content_weight: float = Field(1.0, ge=0.0, le=_HEAVIEST, allow_inf_nan=False)
    """Standard deviation that the content block gets in the item vector."""
    neighbourhood_weight: float = Field(0.5, ge=0.0, le=_HEAVIEST, allow_inf_nan=False)
    """The same for the mean content of the graph neighbours."""
    topology_weight: float = Field(0.2, ge=0.0, le=_HEAVIEST, allow_inf_nan=False)
    """The same for degree, PageRank, core number and clustering."""
    fields_weight: float = Field(0.0, ge=0.0, le=_HEAVIEST, allow_inf_nan=False)
    """The same for the declared fields alone, each hashed; 0 leaves a block out."""
    price_weight: float = Field(0.0, ge=0.0, le=_HEAVIEST, allow_inf_nan=False)
    """The same for returns, volatility and deepest fall up to the cut."""
    behaviour_weight: float = Field(0.0, ge=0.0, le=_HEAVIEST, allow_inf_nan=False)
    """The same for who acquired the item up to the cut: factors of investors x items."""
    structure_weight: float = Field(0.0, ge=0.0, le=_HEAVIEST, allow_inf_nan=False)
    """The same for all measures of the graph, signed causal sums and a missing flag among them."""
    second_hop_weight: float = Field(0.0, ge=0.0, le=_HEAVIEST, allow_inf_nan=False)
    """The same for the mean content of the neighbours' neighbours."""
    near_behaviour_weight: float = Field(0.0, ge=0.0, le=_HEAVIEST, allow_inf_nan=False)
    """The same for the mean behaviour of neighbours, and of theirs."""
    queries_weight: float = Field(0.0, ge=0.0, le=_HEAVIEST, allow_inf_nan=False)
    """The same for what people asked before they clicked on the item: their mean query."""
    coarse_blocks: tuple[str, ...] = ()
    """Blocks that the first level is of, while all below are of the others: topology costs one
    level of text and no more.  For rkmeans and minibatch."""
    behaviour_width: int = Field(32, ge=1, le=512)
    """Factors of investors x items."""
    acquired: tuple[Action, ...] = from_data("acquired")
    least_rating: float = from_data("least_rating")
    iterations: int = Field(50, ge=1, le=1000)
    """At most so many rounds of k-means a level."""
    epochs: int = Field(150, ge=1, le=10_000)
    """Passes over the items when training RQ-VAE, DRQ, or k-means from mini-batches."""
    batch_size: int = Field(1024, ge=2)
    """Items of one training step of the same."""
    hidden: int = Field(128, ge=2, le=4096)
    """Width of the hidden layer of RQ-VAE and DRQ."""
    latent: int = Field(32, ge=1, le=1024)
    """Width of the vectors that RQ-VAE and DRQ quantize."""
    learning_rate: float = Field(1e-3, gt=0.0, le=1.0)
    """Step size of AdamW."""
    commitment: float = Field(0.25, ge=0.0, le=_HEAVIEST, allow_inf_nan=False)
    """Weight of the distance between latent vector and codeword in the loss."""
    codeword_decay: float = Field(0.95, gt=0.0, lt=1.0)
    """How much of a codeword's running mean survives one training step."""
    dead_below: float = Field(1.0, ge=0.0, allow_inf_nan=False)
    """A codeword used less often a step than this is restarted at a random item."""
    coarse_levels: int = Field(1, ge=1, le=8)
    """Levels of residual k-means before RQ-FSQ rounds what is left."""
    spread: float = Field(0.001, ge=0.0, le=_HEAVIEST, allow_inf_nan=False)
    """Weight of the divergence of DRQ's latent from a standard normal."""
    contrast: float = Field(0.1, ge=0.0, le=_HEAVIEST, allow_inf_nan=False)
    """Weight of InfoNCE between linked items in the loss of DRQ."""
    contrast_temperature: float = Field(0.1, gt=0.0, le=10.0)
    """Temperature of that InfoNCE."""
    graph_pull: float = Field(0.0, ge=0.0, le=_HEAVIEST, allow_inf_nan=False)
    """Weight in the loss of RQ-VAE of linked items having other first codewords."""
    order_pull: float = Field(0.0, ge=0.0, le=_HEAVIEST, allow_inf_nan=False)
    """Weight in the loss of RQ-VAE of keeping the order of who is near whom (TopoTok)."""
    balanced: bool = False
    """Items that share all but the last codeword get last codewords of their own, near ones."""
    seed: int = from_root(0)
    """Seed of SVD, k-means and training."""

    @model_validator(mode="after")
    def _leaves_something_below(self) -> Self:
        if not self.coarse_blocks:
            return self
        if self.quantizer not in SPLITS:
            raise ValueError(f"coarse_blocks needs sid.quantizer to be one of {', '.join(SPLITS)}")
        if self.levels == 1:
            raise ValueError("coarse_blocks leaves no level to other blocks: raise sid.levels")
        weights = {name for name, weight in self.block_weights.items() if weight}
        if unknown := sorted({*self.coarse_blocks} - weights):
            weighty = ", ".join(sorted(weights))
            raise ValueError(f"coarse_blocks names {unknown[0]}, but what weighs is {weighty}")
        if weights <= {*self.coarse_blocks}:
            raise ValueError("coarse_blocks leaves nothing below: give another block a weight")
        return self

    @property
    def block_weights(self) -> dict[str, float]:
        """Weight of each block of the item vector, in their order: every `<name>_weight` names one.

        A block younger than the first codes is left out at weight 0, and changes none of them.
        """
        weights = {name: value for name, value in self if name.endswith("_weight")}
        return {
            name.removesuffix("_weight"): weight
            for name, weight in weights.items()
            if weight or name in FIRST
        }
