"""What a person may turn in serving; the slate policy itself is the one that was judged."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from tessera.contracts.params import STRICT

Source = Literal["dense", "walk", "generated", "content", "segment", "popular"]
"""Retrievers by name, in the order in which they are asked where places are left."""


class ServeParams(BaseModel):
    """What the service answers with, beside the slate policy, which is the one that was judged."""

    model_config = STRICT

    retrieved: int = Field(40, ge=1, le=1000)
    """Candidates that retrieval finds for a request."""
    uniform: int = Field(10, ge=0, le=1000)
    """Further candidates drawn from all that suits, so that another model has support too."""
    kept_mb: float = Field(256.0, ge=0.0, le=65536.0)
    """Histories as the model has read them, kept in memory for the next request; 0 keeps none."""
    deadline_ms: float = Field(250.0, gt=0, le=60_000)
    """Within which an answer leaves: parts are left out, or the request is turned away."""
    in_flight: int = Field(64, ge=1, le=1000)
    """Requests that one process works on at a time; more are turned away at once."""
    rate_per_s: float = Field(200.0, gt=0)
    """Requests a second that a key may send to a process; an address, where no key is sent."""
    burst: int = Field(400, ge=1)
    """Requests that a key may send at once after a rest."""
    open_metrics: bool = False
    """`/metrics` needs no key when it is asked for from this machine."""
    shares: dict[Source, Annotated[float, Field(gt=0, le=1)]] = Field({"dense": 1.0}, min_length=1)
    """Share of each retriever in what retrieval finds, as `tessera mix` learns it; places that are
    left go to the others."""
    new_share: float = Field(0.01, ge=0, le=0.2)
    """Least share of the positions that goes to items new on sale, given by exploration alone."""
    new_days: int = Field(28, ge=1, le=365)
    """How long an item is new on sale."""
    feed: Literal["auto", "memory", "sqlite", "redis"] = "auto"
    """How processes tell each other of events: `auto` is memory for one and sqlite for several; the
    address for redis stands in the environment, `TESSERA_REDIS`."""
    capacity_eur: list[Annotated[float, Field(gt=0)]] = Field(
        [30_000.0, 80_000.0, 300_000.0], max_length=4
    )
    """What investors of capacity class 1, 2, ... can invest at most: nobody is shown an item of
    which one unit costs more.  A class without a number can buy everything."""
    dismiss_days: float | None = Field(None, gt=0)
    """How long a dismissal closes an item; null is for ever."""
    cap_shown: int | None = Field(None, ge=1)
    """After how often an item is not shown again to whoever does nothing with it; null never."""
    cap_days: float = Field(7.0, gt=0, le=365)
    """In how many days it was shown that often."""
    per_issuer: int | None = Field(None, ge=1)
    """Most candidates of one issuer, and so most on a slate; null has no limit."""
    diversity: float = Field(0.0, ge=0, le=100)
    """What a candidate loses that is like a better one in category, sector and issuer, in
    temperatures of the slate policy, when it is chosen what is drawn from; 0 chooses nothing."""
    acted_share: float = Field(0.5, ge=0, le=1)
    """Least share of the items that investors acted on which a bundle must list to take over."""
    late_days: float = Field(30.0, gt=0, le=3650)
    """How many days an event, or a slate that is asked for as of then, may lie back; what is older
    is refused: it belongs into the files of the source."""
    shadow: str | None = None
    """Published version, or `candidate`, that scores what is asked and is logged, not shown."""
    canary: str | None = None
    """Published version, or `candidate`, that answers a share of the investors."""
    canary_share: float = Field(0.05, gt=0, le=0.5)
    """Share of the investors that the canary answers."""
    canary_days: float = Field(1.0, gt=0, le=90)
    """An investor counts once, by what comes of the slates of so many days from the first on."""
    canary_margin: float = Field(0.01, ge=0, le=1)
    """Share of what is shown that the canary's investors may dismiss more than the champion's."""
    canary_alpha: float = Field(0.05, gt=0, le=0.2)
    """Chance at most that a canary ends which does not exceed the margin."""
