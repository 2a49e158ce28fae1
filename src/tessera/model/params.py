"""What a person may turn in the sequence model; bounds refuse what cannot work.

One flat section, in parts: a function is passed the part that it reads, and `HstuParams` is all.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

from tessera.contracts.errors import BadParams
from tessera.contracts.params import STRICT, Action, from_data, from_root

_DAY_S = 86_400

Listed = Literal["dense", "walk", "generated"]
FeatureGroup = Literal["user", "item", "pair", "price", "graph", "causal", "sid", "cate"]


class SequenceParams(BaseModel):
    """What is read out of the tables, and what of it is known."""

    model_config = STRICT

    tied_sets: bool = True
    """Events of equal time are a set; false keeps the source order, for published tables."""
    use_codes: bool = True
    """Add the embeddings of its semantic codes to each item."""
    item_input: Literal["codewords", "prefix", "weighed"] = "codewords"
    """How codes become a vector: a sum of codewords, with it what is remembered of prefixes, or the
    less of it the more mature an item is."""
    prefix_rows: int = Field(4096, ge=2, le=1_000_000)
    """Rows of each table of prefixes."""
    own_share: Literal["shrink", "logistic", "net"] = "net"
    """What says how much of an item is its own, with `weighed`: n / (n + k) of the events it was
    learnt from, a logistic regression on days on sale, exposures and answers, or a net that sees
    the item's own vector too."""
    edge_bias: bool = False
    """Let attention see the weight of the graph's edge from one item to the other."""
    window_days: float = from_data("window_days")
    hold_days: float = Field(30.0, gt=0.0, le=3650.0)
    """A purchase not sold again within so many days of its request was one to hold."""
    inverse_propensity: bool = False
    """Weigh slate rows by one over the probability of having been shown, at most 10."""


class TrunkParams(BaseModel):
    """What the trunk and its ranking head are made of."""

    model_config = STRICT

    blocks: int = Field(2, ge=1, le=16)
    """Layers on top of each other."""
    heads: int = Field(1, ge=1, le=16)
    """Attention heads; must divide the width."""
    window: int | None = Field(None, ge=2, le=1024)
    """Distinct times that each layer looks back, the own included; null looks all the way."""
    time_bias: bool = True
    """Let attention see how long ago; switched off where times are only an order."""
    position_bias: bool = True
    """Let attention see how many steps ago."""
    recency_scales: int = Field(0, ge=0, le=16)
    """Means of the trunk's outputs, each decaying with real time at its own learnt scale, of which
    each state adds a mixture; 0 for none, and so do times that are only an order.  The ranking
    head sees of it the cosine alone."""
    recency_days: tuple[float, float] = (1.0, 365.0)
    """Shortest and longest of these scales before training, in days."""
    rank_blocks: int = Field(1, ge=1, le=16)
    """Top layers that ranked candidates pass through; the layers below see only the history."""
    rank_hidden: int = Field(32, ge=1, le=1024)
    """Width of the net on top of a candidate's state, vector and features."""
    features: tuple[FeatureGroup, ...] = (
        "user",
        "item",
        "pair",
        "price",
        "graph",
        "causal",
        "sid",
        "cate",
    )
    """Groups of features that the ranking head is told; leave one out to see what it is worth."""
    generate: bool = False
    """Learn to decode the codes of the next item, and list what a beam search over them finds; the
    service asks it where `serve.shares` says so."""
    blend: dict[Listed, Annotated[float, Field(gt=0, le=1)]] = Field(default_factory=dict)
    """Also list by walks along edges, and by these sources that share the places: what `tessera
    mix` learnt after an earlier cut, as in `serve.shares`; without any, neither is listed."""
    beams: int = Field(50, ge=1, le=4096)
    """Prefixes of codes kept at each level of that search, never fewer than a list is long."""
    score: Literal["recall", "rank"] = "rank"
    """Head whose scores are served and judged; recall where no slates were logged."""
    uplift_weight: float = Field(0.0, ge=0.0, le=1000.0)
    """Added to each judged score: so many times the effect of being shown, in standard deviations;
    0 ranks by the model alone.  It needs `uplift.score_later`, and is for judging only so far: a
    bundle carries no effects."""


class QuestionParams(BaseModel):
    """What every model is asked: whose list, from how much history, of which items."""

    model_config = STRICT

    length: int = Field(50, ge=2, le=1024)
    """Events of history a state may see; also the constant n of the attention."""
    acquired: tuple[Action, ...] = from_data("acquired")
    filter_seen: bool = True
    """Leave out of the lists what the user already acquired."""
    future_items: bool = from_data("future_items")
    top: int = Field(50, ge=1, le=1000)
    """Items in a list."""


class BudgetParams(QuestionParams):
    """What every model is given alike, so that a comparison is one."""

    width: int = Field(48, ge=4, le=512)
    """Width of the residual stream; published vectors hold the closed forms behind it."""
    dropout: float = Field(0.2, ge=0.0, le=0.9)
    """Share of inputs and layer outputs zeroed while training."""
    id_dropout: float = Field(0.1, ge=0.0, le=0.9)
    """Share of items that a step sees by their codes alone, so that codes carry cold items."""
    targets: tuple[Action, ...] = Field(("buy", "click", "rate"), min_length=1)
    """Actions worth predicting; the others are only signals in the input."""
    negatives: int = Field(128, ge=1, le=8192)
    """Uniform negatives drawn for each target when the catalogue is large."""
    temperature: float = Field(0.05, gt=0.0, le=10.0)
    """Divides the cosines in the loss; lists and recall scores are cosines of published vectors."""
    learning_rate: float = Field(0.002, gt=0.0, le=0.1)
    """Step size of AdamW."""
    weight_decay: float = Field(0.001, ge=0.0, le=1.0)
    """Decoupled weight decay of AdamW."""
    epochs: int = Field(8, ge=1, le=500)
    """Most passes over the training events."""
    patience: int = Field(2, ge=1, le=100)
    """Epochs without a better validation nDCG@10 before training stops."""
    refit: bool = False
    """Train once more on train and validation for the best number of epochs."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where models learn; auto takes a GPU where PyTorch finds one."""
    seed: int = from_root(0)
    """Seed of weights, batches, dropout and negatives."""


class ClosedFormParams(BudgetParams):
    """What stands beside the trunk in a published vector."""

    item_weights_width: int = Field(64, ge=0, le=1024)
    """Width of the part of each published vector that knows which items go together; 0 for none."""
    item_weights_l2: float = Field(250.0, gt=0.0, le=1e6)
    """Ridge penalty of the weights between items."""
    demand_days: float = from_data("demand_days")
    profit_weight: float = Field(0.0, ge=0.0, le=100.0)
    """What an item earned lately counts so much beside a cosine; 0 not at all."""


class LossParams(BudgetParams):
    """What a step of the trunk's training minimises."""

    recall_weight: float = Field(1.0, ge=0.0, le=100.0)
    """Weight of the recall loss; 0 trains the ranking head alone."""
    rank_weight: float = Field(10.0, ge=0.0, le=100.0)
    """Weight of the ranking loss on logged slates; 0 trains no ranking head."""
    mask_weight: float = Field(0.1, ge=0.0, le=100.0)
    """Weight of guessing hidden actions; 0 hides none."""
    mask_share: float = Field(0.1, gt=0.0, le=0.9)
    """Share of events whose action is hidden while training."""
    generate_weight: float = Field(1.0, gt=0.0, le=100.0)
    """Weight of the loss on the codes of the next item, with `generate`."""
    soft_forcing: float = Field(0.0, ge=0.0, le=10.0)
    """Temperature at which the codewords that a decoder is fed while training are drawn softly, by
    the item's own vector; it falls to a tenth over the epochs. 0 feeds the true ones."""
    full_softmax_items: int = Field(5000, ge=0, le=100_000)
    """Catalogues up to this size use the full softmax instead of negatives."""
    shared_targets: int = Field(1, ge=1, le=8192)
    """Targets that share one draw of negatives; many make a matrix product of a gather."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Type of the products while training; weights, sums, losses and scores are float32 always."""


class TrainingParams(LossParams):
    """How the trunk learns."""

    batch: int = Field(128, ge=1, le=4096)
    """Sequences in a step."""
    batch_parts: int = Field(1, ge=1, le=4096)
    """Parts that the processes of torchrun share each batch by, each with draws of its own: the
    model depends on them, and not on how many processes have them; one at least for each."""
    clip_norm: float | None = Field(100.0, ge=0.0)
    """Norm that the gradients of a step together are cut down to; 0 or null cuts nothing."""
    average_epochs: float = Field(1.0, ge=0.0, le=100.0)
    """Memory of the running mean of the weights that is validated and kept; 0 keeps the last."""
    pretrain_epochs: int = Field(0, ge=0, le=499)
    """The first of these passes teach histories alone; ranking starts behind them."""
    split_sets: float = Field(0.0, ge=0.0, le=1.0)
    """Share of tied sets cut in two at random in an epoch: their inner order is unknown."""
    slate_share: float = Field(0.5, gt=0.0, le=1.0)
    """Share of the stretches between events that show one of their slates in an epoch."""
    checkpoint_steps: int = Field(200, ge=1, le=100_000)
    """Steps between checkpoints; one more is written after each epoch."""
    compile: bool = False
    """Compile the layers before training, which wants a C++ compiler on the machine."""


class ModelParams(TrainingParams, ClosedFormParams, TrunkParams, SequenceParams):
    """All that a sequence model is fitted by."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.width % self.heads:
            raise BadParams(f"hstu.width {self.width} must be a multiple of heads {self.heads}")
        if not self.recall_weight and not self.rank_weight:
            raise BadParams(
                "hstu.recall_weight and hstu.rank_weight are 0: nothing would be learnt"
            )
        shortest, longest = self.recency_days
        if not 1.0 <= shortest * _DAY_S < longest * _DAY_S < math.inf:
            raise BadParams(
                f"hstu.recency_days {shortest}, {longest} must ascend from at least a second"
            )
        if "generated" in self.blend and not self.generate:
            raise BadParams(
                "hstu.blend names generated: set hstu.generate to true, or leave it out"
            )
        if self.rank_blocks > self.blocks:
            raise BadParams(f"hstu.rank_blocks {self.rank_blocks} exceeds blocks {self.blocks}")
        if self.pretrain_epochs >= self.epochs:
            raise BadParams(
                f"hstu.pretrain_epochs {self.pretrain_epochs} must be below epochs {self.epochs}"
            )
        return self


class BaselinesParams(ModelParams):
    """What is trained beside the trunk, and by what."""

    sasrec: bool = True
    """Train SASRec under the same loss and budget beside it."""
    two_tower: bool = True
    """Train a two-tower model on the same targets and list its items beside it."""
    rankers: bool = False
    """Train DLRM and Wide & Deep on the slates of the ranking head beside it."""
    threads: int = Field(1, ge=1, le=64)
    """Threads of the matrix products; more than one is many times slower on a busy machine."""


class HstuParams(BaselinesParams):
    """Section `hstu` of params.yaml."""

    session_minutes: float = Field(60.0, ge=0.0, le=1e6)
    """Also list for people without an id, of whom only the last session is known, which ends where
    nothing happens for so long; 0 lists for none, and so do times that are only an order."""
