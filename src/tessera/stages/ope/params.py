"""Params of the ope stage."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from tessera.contracts.params import STRICT, from_data, from_root

Temperature = Annotated[float, Field(gt=0.0, le=100.0)]
Cap = Annotated[float, Field(ge=0.01, le=1000.0)]


class OpeParams(BaseModel):
    """What is judged, against what, and how sure one must be."""

    model_config = STRICT

    candidate: Literal["model", "champion"] = "model"
    """`champion` judges the champion against itself: an A/A test of the whole gate."""
    temperature: Temperature = 1.0
    """Slate policy that will be served: scores are divided by it, in their units: spreads of the
    log odds (`hstu.score: rank`) or cosines (`recall`)."""
    further_temperatures: tuple[Temperature, ...] = Field(default=(), max_length=9)
    """Further temperatures that the same model could be served at: with `temperature` they are one
    batch, held to Holm; the best that passes is proposed, and if none does the best is told of."""
    epsilon: float = Field(default=0.1, ge=0.0, le=1.0)
    """Slate policy that will be served: share of uniform exploration at every position."""
    top_k: int = Field(default=10, ge=1, le=1000)
    """Slate policy that will be served: best open candidates that the softmax ranges over."""
    window_days: float = from_data("window_days")
    alpha: float = Field(default=0.05, gt=0.0, le=0.2)
    """Error rate of all promotions on one log, of which the k-th candidate gets its share; and of
    each interval that is shown beside the bounds that decide."""
    margin: float = Field(default=0.0, ge=0.0, le=1.0)
    """Loss per request that is still accepted; 0 asks for superiority."""
    caps: tuple[tuple[Cap, Cap], ...] = Field(
        default=((0.5, 0.5), (2.0, 5.0), (2.0, 20.0)), min_length=1, max_length=4
    )
    """Pairs of caps.  First the most that the draw at one position can take from the paired score:
    the reward model is moved by weight so that it holds, and the score stays unbiased.  Then the
    most that the positions below a drawn prefix can take; what lies beyond is paid for before the
    draw.  The bettor divides the wealth among scores with each pair: small ones are best for
    candidates close to the champion and for short logs, large ones for others."""
    ceiling: float | None = Field(default=None, gt=0.0, le=10000.0)
    """SWITCH-DR trusts weights up to it; null lets the log choose."""
    min_ess: float = Field(default=1000.0, ge=1.0, le=1e9)
    """Least effective sample size, in requests."""
    max_dropped: float = Field(default=0.01, ge=0.0, le=1.0)
    """Largest share of requests left out because the log of their slate is incomplete."""
    min_as_served: float = Field(default=0.0, ge=0.0, le=1.0)
    """Least share of what the champion itself served that its replay gives with the logged
    probabilities.  Where the source knows events that the service was never told, it is near 0 and
    both policies are judged as knowing them; who tells all as it happens asks for much."""
    max_duplicates: float = Field(default=0.01, ge=0.0, le=1.0)
    """Largest share of outcomes that repeat another; only the first of each counts."""
    max_z: float = Field(default=3.3, gt=0.0, le=10.0)
    """Largest |z| of the test that the mean weight is 1."""
    max_share: float = Field(default=0.05, gt=0.0, le=1.0)
    """Largest share of the estimate that one request may contribute."""
    max_dismissals_rise: float = Field(default=0.1, ge=0.0, le=3.0)
    """Guardrail: dismissals that the candidate may add, as a share of the champion's."""
    max_roi_loss: float = Field(default=0.01, ge=0.0, le=1.0)
    """Guardrail: monthly return of what is shown that the candidate may cost; not measured where
    nothing has a price."""
    max_gini: float = Field(default=0.2, ge=0.0, le=1.0)
    """Guardrail: Gini index of what is shown that the candidate may add."""
    max_top_share: float = Field(default=0.1, ge=0.0, le=1.0)
    """Guardrail: share of what is shown that the top 1 % of items may take more of."""
    min_coverage: float = Field(default=0.5, ge=0.0, le=1.0)
    """Guardrail: least share of the champion's catalogue coverage."""
    min_sid_capacity: float = Field(default=0.5, ge=0.0, le=1.0)
    """Guardrail: least effective number of semantic IDs (whole, without suffix), by the items."""
    max_sid_collisions: float = Field(default=0.3, ge=0.0, le=1.0)
    """Guardrail: share of items that may lack a code of their own, the suffix left out."""
    min_sid_use: float = Field(default=0.5, ge=0.0, le=1.0)
    """Guardrail: least share of its codewords that each level uses, of those that it could."""
    min_sid_told_apart: float = Field(default=0.5, ge=0.0, le=1.0)
    """Guardrail: least part of the effective codewords that noise leaves, at the first level and of
    whole codes: 1 if none lies near another."""
    min_sid_survival: float = Field(default=0.5, ge=0.0, le=1.0)
    """Guardrail: least share of items whose code stays when some of their terms and edges are left
    out."""
    max_calibration_error: float = Field(default=0.05, ge=0.0, le=1.0)
    """Guardrail: mean gap of the probability of a click or a purchase at the top and what came of
    it, over ten bins of equally many requests; not measured without a ranking head."""
    max_mflops: float = Field(default=280.0, gt=0.0, le=1e9)
    """Guardrail: million operations a request may take.  Seconds would depend on who else uses the
    machine.  Encoding 200 events and ranking 200 candidates at width 50 is 35 of them and takes
    3.1 ms (p99, one thread, benchmarks/hstu.py): in 50 ms go 560, and half of that is reserve."""
    reward_rows: int = Field(default=60_000, ge=100, le=10_000_000)
    """Exposures that the reward model learns from, sampled from those before the cut."""
    reward_trees: int = Field(default=50, ge=1, le=1000)
    """Boosting rounds of the reward model."""
    permutations: int = Field(default=20, ge=0, le=1000)
    """Negative control: how often rewards are permuted."""
    seed: int = from_root(7)
    """Seed of sampling and permutations."""

    @model_validator(mode="after")
    def _a_tie_is_no_promotion(self) -> OpeParams:
        """With a margin the champion would beat itself, and an unjudged model be published."""
        if self.candidate == "champion" and self.margin > 0:
            raise ValueError("candidate: champion needs margin: 0")
        return self

    @model_validator(mode="after")
    def _a_batch_holds_each_policy_once(self) -> OpeParams:
        if self.further_temperatures and self.candidate == "champion":
            raise ValueError("candidate: champion is served at its own temperature, in no batch")
        if len(set(self.temperatures)) < len(self.temperatures):
            told = ", ".join(f"{temperature:g}" for temperature in self.temperatures)
            raise ValueError(f"temperature and further_temperatures must differ, not {told}")
        return self

    @property
    def temperatures(self) -> tuple[float, ...]:
        """All that the model could be served at, `temperature` first."""
        return (self.temperature, *self.further_temperatures)
