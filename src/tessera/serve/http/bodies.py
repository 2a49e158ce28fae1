"""What is asked and answered, from which OpenAPI is rendered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from tessera.contracts.tables import RISK_CLASSES
from tessera.serve.challengers import Role
from tessera.serve.events import Status

Id = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
MOST_EVENTS = 1000
MOST_ITEMS = 100
_EXAMPLES: dict[str, JsonDict] = {
    "Ask": {"examples": [{"investor_id": "u000001", "k": 3}]},
    "Happenings": {
        "examples": [
            {
                "events": [
                    {
                        "event_id": "a-1",
                        "investor_id": "u000001",
                        "item_id": "i00363",
                        "action": "buy",
                    }
                ]
            }
        ]
    },
    "PriceList": {
        "examples": [
            {
                "closes": [
                    {
                        "item_id": "i00363",
                        "price_ts": "2024-12-23T00:00:01Z",
                        "close_eur": 12.5,
                    }
                ]
            }
        ]
    },
    "ClassList": {
        "examples": [
            {
                "investors": [
                    {
                        "investor_id": "u000001",
                        "risk_class": 2,
                        "valid_from": "2024-12-23T00:00:01Z",
                    }
                ]
            }
        ]
    },
}


class Body(BaseModel):
    """A body that says nothing that nobody reads."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Context(Body):
    """Where and when a slate is shown."""

    channel: str | None = Field(
        None,
        max_length=64,
        description="Through which it is shown, such as app or branch; logged with the slate, and "
        "measured apart.",
    )
    page: str | None = Field(None, max_length=64)
    device: str | None = Field(None, max_length=64)
    time: AwareDatetime | None = Field(
        None,
        description="When, from 1970 on; now by default. What lies up to a minute ahead counts as "
        "now, more is refused, and so is what lies more than `serve.late_days` back.",
    )


class Told(Body):
    """Something that whoever asks says was done."""

    item_id: Id
    action: Literal["view", "click", "buy", "sell", "dismiss", "rate"]
    time: AwareDatetime | None = Field(None, description="When; now by default.")


class Ask(Body):
    """A request for recommendations, for exactly one of investor_id, session_id and history."""

    model_config = ConfigDict(json_schema_extra=_EXAMPLES["Ask"])

    investor_id: Id | None = None
    session_id: Id | None = Field(
        None, description="A session of somebody unknown, whose events were sent under it."
    )
    history: list[Told] | None = Field(
        None,
        max_length=MOST_EVENTS,
        description="What somebody unknown did. Nothing of it is kept: the best are shown, "
        "nothing is drawn, nothing is logged.",
    )
    k: int | None = Field(
        None, ge=1, le=MOST_ITEMS, description="Positions; as many as were judged by default."
    )
    context: Context = Context()


class Fact(BaseModel):
    """A number that was read from a table when the slate was drawn."""

    name: str
    value: float
    as_of: datetime
    source: str = Field(description="Table of the bundle, and of an edge from where it leads.")


class Shown(BaseModel):
    """One position of a slate."""

    position: int
    item_id: str
    name: str
    category: str
    score: float
    propensity: float = Field(description="Probability of this item given those above it.")
    source: str = Field(description="What found it: a retriever, or a uniform draw.")
    reason: str
    facts: list[Fact] = Field(description="What is known of it now, and what the reason rests on.")


class Answer(BaseModel):
    """A slate."""

    request_id: str
    investor_id: str | None = None
    session_id: str | None = None
    time: datetime
    policy_id: str
    version: str
    context_version: str
    flags: list[str] = Field(
        description="cold: nothing is known of the investor; degraded: something was left out; "
        "filled: a rule gave way, because it left too few items; "
        "unlogged: the log cannot be written, so that the best are shown and nothing was drawn; "
        "undrawn: exploration is stopped, the best are shown; "
        "inline: for a history that was sent along, of which nothing is kept."
    )
    removed: dict[str, int] = Field(
        description="What rules took away, by rule: items of the catalogue before the search "
        "(off_sale, risk, capacity, held, dismissed, capped), candidates behind it (issuer, "
        "diversity)."
    )
    items: list[Shown]


class Happening(Body):
    """Something an investor did."""

    event_id: Id = Field(description="The same id again changes nothing.")
    investor_id: Id | None = Field(None, description="Either this or session_id.")
    session_id: Id | None = None
    item_id: Id
    action: Literal["view", "click", "buy", "sell", "dismiss", "rate", "complain"] = Field(
        description="complain is measured (`complaint_rate`), and nobody learns from it: send "
        "dismiss too, if the item should not be shown again."
    )
    time: AwareDatetime | None = Field(
        None, description="When, at most `serve.late_days` back; now by default."
    )
    request_id: Id | None = Field(None, description="Slate that led to it.")
    value: float = Field(0.0, ge=0, le=1e12, description="EUR; 0 for a click.")
    channel: str | None = Field(None, max_length=64)


class Happenings(Body):
    """A batch of them; all are taken in, or none."""

    model_config = ConfigDict(json_schema_extra=_EXAMPLES["Happenings"])

    events: list[Happening] = Field(min_length=1, max_length=MOST_EVENTS)


class Taken(BaseModel):
    """What became of the events."""

    new: int
    known: int = Field(description="Events that were known before.")
    conflict: int = Field(
        description="Events whose id stands for something else already, which stays."
    )
    status: list[Status] = Field(description="Of each event, in their order.")


class Price(Body):
    """A close of an item."""

    item_id: Id
    price_ts: AwareDatetime = Field(
        description="Day of the close, behind the bundle's cut; it counts from the next day on."
    )
    close_eur: float = Field(gt=0, le=1e12)
    currency: Literal["EUR"] = "EUR"


class PriceList(Body):
    """A batch of closes; all are taken in, or none."""

    model_config = ConfigDict(json_schema_extra=_EXAMPLES["PriceList"])

    closes: list[Price] = Field(min_length=1, max_length=MOST_EVENTS)


class Priced(BaseModel):
    """How many closes were taken in."""

    new: int = Field(description="New ones, and corrections of former ones.")
    known: int = Field(description="Closes that say what was known before.")


class Classing(Body):
    """What an investor is classed as from a moment on."""

    investor_id: Id
    risk_class: int = Field(strict=True, ge=1, le=len(RISK_CLASSES))
    capacity_class: int | None = Field(
        None, strict=True, ge=1, le=4, description="As it was, if it is left out."
    )
    valid_from: AwareDatetime = Field(
        description="Since when it holds, from 1970 on. What lies up to a minute ahead counts as "
        "now, more is refused. Of an investor the latest counts."
    )


class ClassList(Body):
    """A batch of them; all are taken in, or none."""

    model_config = ConfigDict(json_schema_extra=_EXAMPLES["ClassList"])

    investors: list[Classing] = Field(min_length=1, max_length=MOST_EVENTS)


class Classed(BaseModel):
    """How many classes were taken in."""

    new: int = Field(description="Changes, corrections, and classes of whom nobody told before.")
    known: int = Field(
        description="What was told before, or held only until something that was told before."
    )


class Similar(BaseModel):
    """An item like another."""

    item_id: str
    name: str
    category: str
    score: float


class Done(BaseModel):
    """Something that an investor did."""

    item_id: str
    action: str
    time: datetime


class InvestorKnown(BaseModel):
    """All that is known of an investor."""

    investor_id: str
    risk_class: int
    level: str = Field(description="Risk class in words.")
    capacity_class: int | None = Field(description="Investment capacity; null if nobody says.")
    held: list[str]
    dismissed: list[str]
    events: int
    counts: dict[str, int] = Field(description="Events by action.")
    last: list[Done] = Field(description="The last of them, newest first.")


class Erasure(BaseModel):
    """An investor was erased."""

    investor_id: str
    forgotten: int = Field(description="Events since the bundle's cut that are forgotten.")


class Refusal(BaseModel):
    """A bundle that is wanted and cannot be served."""

    version: str
    reason: str
    role: Role = Field(description="What it would be.")


class Version(BaseModel):
    """What is served."""

    version: str
    identity: str
    policy: str
    events: int = Field(description="Events taken in since the bundle's cut.")
    cut: datetime = Field(description="Until when the bundle knows.")
    cut_age_s: float
    newest_close: datetime | None = Field(description="Day of the newest close that is known.")
    close_age_s: float | None
    refused: Refusal | None = Field(None, description="Alarm: what is current cannot be served.")
    explores: bool = Field(description="Slates are drawn; else the best are shown and marked.")
    canary: str | None = Field(None, description="Version that answers a share of investors.")
    share: float | None = Field(None, description="Share of investors that the canary answers.")
    shadow: str | None = Field(None, description="Version that scores and is not shown.")


class Problem(BaseModel):
    """RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[dict[str, str]] = []
