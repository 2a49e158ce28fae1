"""A sample of a day by investors, and the columns whose distributions are compared.

Shapes: N slates, R positions, E events, M rows of a column.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tessera.contracts.arrays import Float64s, Ints
from tessera.stages.daily.frames import Frames

_HOURS = 6
"""Hours that count as one time of the day."""


@dataclass(frozen=True, slots=True)
class Column:
    """Values of a day, each of an investor."""

    value_M: np.typing.NDArray[np.object_] | Float64s
    user_M: Ints


def drawn(day: Frames, most: int) -> Frames:
    """Keep some investors: those with the least hashes, so that no order of rows matters."""
    there = np.unique(np.concatenate([day.slates["user"], day.events["user"]]).astype(np.int64))
    if len(there) <= most:
        return day
    rank = sorted(there.tolist(), key=lambda one: _hash(day.user_ids[one]))
    kept = np.zeros(len(day.user_ids), np.bool_)
    kept[rank[:most]] = True
    in_N = kept[day.slates["user"].to_numpy()]
    row_N = np.cumsum(in_N) - 1
    in_R = in_N[day.positions["slate"].to_numpy()]
    positions = day.positions[in_R]
    positions = positions.assign(slate=row_N[positions["slate"].to_numpy()])
    events = day.events[kept[day.events["user"].to_numpy()]]
    return replace(
        day,
        slates=day.slates[in_N].reset_index(drop=True),
        positions=positions.reset_index(drop=True),
        events=events.reset_index(drop=True),
    )


def _hash(user_id: str) -> bytes:
    return hashlib.blake2b(user_id.encode(errors="surrogatepass"), digest_size=8).digest()


def categories(day: Frames) -> Mapping[str, Column]:
    """Return the columns of kinds, by series; what nobody says is no value."""
    slates, rows, events = day.slates, day.positions, day.events
    user_R = slates["user"].to_numpy()[rows["slate"].to_numpy()]
    user_E = events["user"].to_numpy()
    user_N = slates["user"].to_numpy()
    names = np.array([*day.categories, ""], object)
    issuers = np.array([*day.issuers, ""], object)
    wanted = events["action"].isin(("click", "buy", "rate")).to_numpy()
    found = {
        "psi.investors.segment": Column(slates["segment"].to_numpy(object), user_N),
        "psi.investors.risk_class": Column(_named(slates["risk_class"]), user_N),
        "psi.investors.known": Column(slates["known"].astype(str).to_numpy(object), user_N),
        "psi.items.category": Column(names[rows["category"].to_numpy()], user_R),
        "psi.items.issuer": Column(issuers[rows["issuer"].to_numpy()], user_R),
        "psi.items.popularity": Column(_banded(rows["percentile"], (0.01, 0.05, 0.2, 0.5)), user_R),
        "psi.context.hour": Column((slates["hour"] // _HOURS).astype(str).to_numpy(object), user_N),
        "psi.context.channel": Column(events["channel"].to_numpy(object), user_E),
        "psi.outcomes.action": Column(events["action"].to_numpy(object), user_E),
        "psi.outcomes.category": Column(
            names[events["category"].to_numpy()][wanted], user_E[wanted]
        ),
        "psi.prediction.rank": Column(
            _banded(rows["rank"].where(rows["rank"] >= 0), (1, 2, 3, 5, 10, 20)), user_R
        ),
    }
    return {series: _told(column) for series, column in found.items()}


def _named(risk: pd.Series) -> np.typing.NDArray[np.object_]:
    return np.where(risk > 0, risk.astype(str), "").astype(object)


def _banded(values: pd.Series, edges: tuple[float, ...]) -> np.typing.NDArray[np.object_]:
    value_M = values.to_numpy(np.float64)
    band_M = np.digitize(value_M, edges).astype(str).astype(object)
    band_M[~np.isfinite(value_M)] = ""
    return np.asarray(band_M, object)


def _told(column: Column) -> Column:
    kept_M = column.value_M != ""
    return Column(column.value_M[kept_M], column.user_M[kept_M])


def numbers(day: Frames) -> Mapping[str, Column]:
    """Return the columns of numbers, by series."""
    slates, rows, events = day.slates, day.positions, day.events
    user_N = slates["user"].to_numpy()
    user_R = user_N[rows["slate"].to_numpy()]
    eur = events[events["value"] > 0]
    found = {
        "wasserstein.prediction.score": Column(rows["score"].to_numpy(), user_R),
        "wasserstein.prediction.spread": Column(slates["score_spread"].to_numpy(), user_N),
        "wasserstein.prediction.top": Column(slates["score_top"].to_numpy(), user_N),
        "wasserstein.prediction.propensity": Column(
            np.log10(rows["propensity"].clip(lower=1e-12)).to_numpy(), user_R
        ),
        "wasserstein.context.candidates": Column(slates["candidates"].to_numpy(np.float64), user_N),
        "wasserstein.outcomes.log_amount": Column(
            np.log10(eur["value"].to_numpy()), eur["user"].to_numpy()
        ),
    }
    return {series: _finite(column) for series, column in found.items()}


def _finite(column: Column) -> Column:
    kept_M = np.isfinite(column.value_M.astype(np.float64))
    return Column(column.value_M[kept_M], column.user_M[kept_M])


FEATURES = (
    "candidates", "score_mean", "score_spread", "score_top", "risk_class", "known", "hour",
)  # fmt: skip
"""Of slates."""
SHOWN = ("score", "rank", "holders", "log_propensity")
"""Of positions."""


def investors(day: Frames) -> tuple[list[str], Float64s]:
    """Return one row of features for each investor who was shown something: all that was seen."""
    slates, rows = day.slates, day.positions
    if not len(rows):
        return [], np.zeros((0, len(FEATURES) + len(SHOWN)))
    of_slate = slates[["user", *FEATURES]].astype(np.float64).groupby("user").mean()
    rows = rows.assign(
        user=slates["user"].to_numpy()[rows["slate"].to_numpy()],
        log_propensity=np.log10(rows["propensity"].clip(lower=1e-12)),
    )
    of_rows = rows[["user", *SHOWN]].astype(np.float64).groupby("user").mean()
    both = of_slate.join(of_rows, how="inner")
    values = both.to_numpy(np.float64)
    return [day.user_ids[int(user)] for user in both.index], np.nan_to_num(values)
