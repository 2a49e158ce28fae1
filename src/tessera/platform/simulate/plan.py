"""What is simulated: how long, with whom, what happens in the middle, and by which params."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

from tessera.contracts.errors import BadParams

Scenario = Literal["calm", "drift", "births", "attack"]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)
SAYS: dict[Scenario, str] = {
    "calm": "nothing happens",
    "drift": "every investor takes the tastes of another",
    "births": "a fifth of the items come on sale together",
    "attack": "one investor in thirty becomes a bot that clicks and buys one item",
}
"""What happens in the middle."""
SIGNS: dict[Scenario, tuple[str, ...]] = {
    "calm": (),
    "drift": ("click_", "buy_rate", "dismiss_rate"),
    "births": ("",),
    "attack": ("events.", "click_", "buy_rate"),
}
"""How series begin that can tell of it: an alarm of another one, as of lists that a publication
narrowed, is no sign that it was noticed."""
MOVED, LAUNCHED, BOTS = 1.0, 0.2, 1 / 30
"""Shares of investors whose tastes move, of items that are launched, of investors who are bots."""
_VISITS_LOGGED = 24
"""Visits of an investor in the log that the first model learns from."""
_LOG_DAYS = 200
"""Of the market before the first day; the first model is judged by the last three tenths."""
_MARGIN_DAYS = 40
"""How long the market lives behind the last day, so that what is still to come has a place."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One simulation."""

    days: int = 30
    seed: int = 0
    scenario: Scenario = "calm"
    users: int = 1_000
    visits: int = 1_000
    """A day."""
    every: int = 5
    """Days between two retrainings; what the last ones brought is what a candidate is judged by."""
    weighted: bool = False
    """Training weighs what was served by one over its propensity (`hstu.inverse_propensity`)."""

    def __post_init__(self) -> None:
        """Refuse what cannot be played."""
        if self.scenario not in SCENARIOS:
            known = ", ".join(SCENARIOS)
            raise BadParams(f"no scenario {self.scenario!r}: choose one of {known}")

    @property
    def change_day(self) -> int:
        """Day on which it happens, counted from 0."""
        return self.days // 2

    @property
    def log_days(self) -> int:
        """Days of the market before the service begins."""
        return _LOG_DAYS

    @property
    def name(self) -> str:
        """Name of a folder for it."""
        weighted = "-weighted" if self.weighted else ""
        return f"{self.scenario}-{self.users}-{self.days}-{self.seed}{weighted}"

    def is_due(self, day: int) -> bool:
        """Tell whether a retraining follows a day."""
        return (day + 1) % self.every == 0 and day + 1 < self.days

    def overrides(self) -> dict[str, Any]:
        """Return the profile: a small market and model, and a service that is never hurried."""
        return {
            "seed": self.seed,
            "synth": self._market(),
            "data": {"window_days": 1.0},
            "ingest": {"source": "served", "of": "market"},
            "uplift": {
                "report_learners": [],
                "bootstrap": 10,
                "permutations": 9,
                "train_requests": 10_000,
                "test_requests": 2_000,
            },
            "hstu": {
                "width": 24,
                "length": 30,
                "epochs": 4,
                "sasrec": False,
                "two_tower": False,
                "inverse_propensity": self.weighted,
            },
            "evaluate": {"draws": 20},
            "monitor": {"sample_rows": 1_000},
            # Two models trained apart must be able to judge each other on some thousand slates:
            # few candidates, and all of them in the softmax.  Each may be served sharper too: what
            # that earns a log of the same candidates can tell.
            "ope": {"top_k": 20, "further_temperatures": [0.25, 0.1]},
            "serve": {
                "retrieved": 15,
                "uniform": 5,
                "late_days": 365.0,  # before the first day all since the first cut is told
                "deadline_ms": 60_000.0,
                "rate_per_s": 1e6,
                "burst": 1_000_000,
            },
        }

    def _market(self) -> dict[str, Any]:
        said: dict[str, float] = {
            "users": self.users,
            "items": min(150, max(60, self.users // 4)),
            "requests": _VISITS_LOGGED * self.users,
            "slate_size": 2,
            "days": self.log_days + self.days + _MARGIN_DAYS,
            "log_days": self.log_days,
        }
        if self.scenario == "births":
            said |= {"launch_day": self.log_days + self.change_day, "launch_share": LAUNCHED}
        return said

    def told(self) -> dict[str, Any]:
        """Lay it out for a file."""
        return asdict(self)

    @classmethod
    def read(cls, told: dict[str, Any]) -> Self:
        """Read what `told` laid out."""
        return cls(**told)
