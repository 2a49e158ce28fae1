"""Numbers become the files of a bank: Parquet in the columns of the contracts, streamed in chunks.

Shapes: N visits, L positions, C candidates, M deeds, U users, I items, D days.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tessera.contracts.arrays import Float64s, Ints
from tessera.contracts.arrow import schema, write_table
from tessera.contracts.columns import Table
from tessera.contracts.tables import ACTIONS, ITEMS, LINKS, PRICES, USERS
from tessera.stages.synth.assets import (
    CATEGORIES,
    ISSUERS,
    SECTORS,
    SUBCATEGORIES,
    Assets,
    describe,
)
from tessera.stages.synth.behaviour import Market
from tessera.stages.synth.explorer import policy_ids
from tessera.stages.synth.interactions import DAY
from tessera.stages.synth.investors import SEGMENTS
from tessera.stages.synth.log import Chunk
from tessera.stages.synth.purposes import marked

START = date(2024, 1, 1)
"""First day of the log; ours, a Monday."""
CHANNELS = ("app", "web", "branch")
_FEES = 12
"""Number of the stream of chance that says what funds cost."""
_COUNTRIES = 13
"""The same of the stream that says of which country an issuer is."""
_BUFFER_ROWS = 200_000
_ACTION_NAMES = pa.array(ACTIONS)


class Sink:
    """A Parquet file that grows; rows are buffered so that row groups do not depend on chunks."""

    def __init__(self, path: Path, columns: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(path, columns, compression="zstd")
        self._schema = columns
        self._waiting: list[pa.Table] = []
        self.rows = 0

    def add(self, columns: dict[str, pa.Array]) -> None:
        """Append rows given by column."""
        arrays = [columns[field.name] for field in self._schema]
        self._waiting.append(pa.Table.from_arrays(arrays, schema=self._schema))
        self.rows += self._waiting[-1].num_rows
        if sum(table.num_rows for table in self._waiting) >= _BUFFER_ROWS:
            self._flush()

    def close(self) -> None:
        """Write what waits and finish the file."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            table = pa.concat_tables(self._waiting).combine_chunks()
            self._writer.write_table(table, row_group_size=max(table.num_rows, 1))
            self._waiting = []


def raw_schema(table: Table) -> pa.Schema:
    """Columns of a table as a careless source writes them: anything may be null."""
    return pa.schema([field.with_nullable(True) for field in schema(table)])


def names(prefix: str, number_N: Ints, width: int) -> pa.Array:
    """Make ids that sort like their numbers."""
    digits = pc.utf8_lpad(pc.cast(pa.array(number_N), pa.string()), width, "0")
    return pc.binary_join_element_wise(prefix, digits, "")


def request_ids(number_N: Ints) -> pa.Array:
    """Make request ids; they sort by time."""
    return names("r", number_N, 8)


def item_ids(number_N: Ints) -> pa.Array:
    """Make item ids."""
    return names("i", number_N, 5)


def user_ids(number_N: Ints) -> pa.Array:
    """Make user ids."""
    return names("u", number_N, 6)


def timestamps(at_us_N: Ints) -> pa.Array:
    """Turn microseconds since the first day into times."""
    first_us = int(np.datetime64(START, "us").astype(np.int64))
    return pa.array(first_us + at_us_N).cast(pa.timestamp("us", tz="UTC"))


def exposures(market: Market, chunk: Chunk) -> dict[str, pa.Array]:
    """One row a position."""
    slates = chunk.slates
    visits, length = slates.chosen_NL.shape
    size = slates.item_NC.shape[1]
    visit_M = np.repeat(np.arange(visits), length)
    spent_N = (~chunk.grounds.explores_N).astype(np.int64)
    shown_NL = np.take_along_axis(slates.item_NC, slates.chosen_NL, axis=1)
    catalogue = item_ids(np.arange(market.params.items))
    ends = pa.array(np.arange(visits * length + 1, dtype=np.int32) * size)
    return {
        "request_id": request_ids(chunk.first + visit_M),
        "position": pa.array(np.tile(np.arange(1, length + 1), visits)),
        "user_id": user_ids(slates.user_N[visit_M]),
        "item_id": catalogue.take(pa.array(shown_NL.ravel())),
        "event_ts": timestamps(slates.at_us_N[visit_M]),
        "policy_id": pa.array(policy_ids(market.params)).take(pa.array(spent_N[visit_M])),
        "propensity": pa.array(slates.propensity_NL.ravel()),
        "candidate_ids": pa.ListArray.from_arrays(
            ends, catalogue.take(pa.array(slates.item_NC[visit_M].ravel()))
        ),
        "candidate_propensities": pa.ListArray.from_arrays(
            ends, pa.array(slates.probability_NLC.ravel())
        ),
        "context_version": pa.array([chunk.grounds.context]).take(pa.array(visit_M * 0)),
    }


def events(chunk: Chunk, first_row: int, rng: np.random.Generator) -> dict[str, pa.Array]:
    """One row a deed, in the order of the source."""
    interactions, slates = chunk.interactions, chunk.slates
    size = len(interactions.item_M)
    request_M = request_ids(chunk.first + interactions.visit_M)
    channel_M = np.minimum(rng.geometric(0.6, size) - 1, len(CHANNELS) - 1)
    return {
        "event_id": names("e", first_row + np.arange(size), 9),
        "user_id": user_ids(slates.user_N[interactions.visit_M]),
        "item_id": item_ids(interactions.item_M),
        "action": _ACTION_NAMES.take(pa.array(interactions.action_M)),
        "event_ts": timestamps(interactions.at_us_M),
        "time_kind": pa.array(["exact"]).take(pa.array(np.zeros(size, dtype=np.int64))),
        "amount_eur": _or_null(chunk.amount_eur_M),
        "units": _or_null(chunk.units_M),
        "channel": pa.array(CHANNELS).take(pa.array(channel_M)),
        "request_id": pc.if_else(
            pa.array(interactions.from_slate_M), request_M, pa.scalar(None, pa.string())
        ),
    }


def outcomes(chunk: Chunk) -> dict[str, pa.Array]:
    """One row a deed that the source attributes to a visit, candidates not shown included."""
    interactions = chunk.interactions
    index_M = np.flatnonzero(interactions.outcome_M)
    amount_M = chunk.amount_eur_M[index_M]
    return {
        "request_id": request_ids(chunk.first + interactions.visit_M[index_M]),
        "item_id": item_ids(interactions.item_M[index_M]),
        "action": _ACTION_NAMES.take(pa.array(interactions.action_M[index_M])),
        "value": pa.array(np.where(np.isnan(amount_M), 0.0, amount_M)),
        "event_ts": timestamps(interactions.at_us_M[index_M]),
    }


def capacity_classes(wealth_U: Float64s) -> Ints:
    """Return the capacity class of investors by their wealth."""
    return 1 + np.digitize(wealth_U, [-0.7, 0.0, 0.7])


def write_users(market: Market, path: Path) -> int:
    """Write one row a version of an investor."""
    people = market.investors
    all_U = np.arange(market.params.users)
    changed_U = np.flatnonzero(people.changed_day_U < market.params.days)
    user_M = np.concatenate([all_U, changed_U])
    version_M = np.repeat([0, 1], [len(all_U), len(changed_U)])
    day_M = np.where(version_M == 0, people.joined_day_U[user_M], people.changed_day_U[user_M])
    order_M = np.lexsort((day_M, user_M))
    user_M, version_M, day_M = user_M[order_M], version_M[order_M], day_M[order_M]
    risk_M = people.risk_U2[user_M, version_M]
    capacity_M = capacity_classes(people.wealth_U[user_M])
    columns = {
        "user_id": user_ids(user_M),
        "valid_from": timestamps(day_M * DAY),
        "risk_class": pa.array(risk_M, mask=risk_M == 0),
        "capacity_class": pa.array(capacity_M),
        "segment": pa.array(SEGMENTS).take(pa.array(people.segment_U[user_M])),
    }
    write_table(pa.table(columns), USERS, path)
    return len(user_M)


def write_items(market: Market, path: Path, rng: np.random.Generator) -> int:
    """Write the catalogue, the dead and the future included."""
    assets, size = market.assets, market.params.items
    issuer = [ISSUERS[k] for k in assets.issuer_I]
    sub = [
        SUBCATEGORIES[c][s] for c, s in zip(assets.category_I, assets.subcategory_I, strict=True)
    ]
    dies_I = assets.dead_day_I <= market.params.days
    last_I = np.where(dies_I, assets.dead_day_I, 1) * DAY - 1
    columns = {
        "item_id": item_ids(np.arange(size)),
        "name": pa.array([f"{who} {what} {k:03d}" for k, (who, what) in
                          enumerate(zip(issuer, sub, strict=True))]),
        "category": pa.array(CATEGORIES).take(pa.array(assets.category_I)),
        "subcategory": pa.array(sub),
        "sector": pa.array(SECTORS).take(pa.array(assets.sector_I)),
        "issuer": pa.array(issuer),
        "market_id": _market_ids(assets),
        "text": pa.array(marked(market.params, describe(assets, rng))),
        "risk_class": pa.array(assets.risk_I, mask=assets.risk_I == 0),
        "valid_from": timestamps(assets.born_day_I * DAY),
        "valid_to": pc.if_else(pa.array(dies_I), timestamps(last_I),
                               pa.scalar(None, pa.timestamp("us", tz="UTC"))),
        "fee_percent": _fees(market),
    }  # fmt: skip
    write_table(pa.table(columns), ITEMS, path)
    return size


def write_links(market: Market, path: Path) -> int:
    """Write the country of each item, which is that of its issuer; no file without countries."""
    countries, size = market.params.countries, market.params.items
    if not countries:
        return 0
    rng = np.random.default_rng((market.params.seed, _COUNTRIES))
    country_I = rng.integers(countries, size=len(ISSUERS))[market.assets.issuer_I]
    columns = {
        "item_id": item_ids(np.arange(size)),
        "relation": pa.repeat("country", size),
        "target_id": pa.array([f"c{country:02d}" for country in country_I]),
        "valid_from": pa.nulls(size, pa.timestamp("us", tz="UTC")),
    }
    write_table(pa.table(columns), LINKS, path)
    return size


def write_prices(market: Market, path: Path) -> int:
    """Write closes of working days while the item lives."""
    assets, days = market.assets, market.params.days
    day_D = np.arange(days)
    weekday_D = (np.datetime64(START, "D") + day_D).astype(np.int64)
    works_D = (weekday_D + 3) % 7 < 5  # day 0 of the epoch was a Thursday
    lives_DI = (assets.born_day_I <= day_D[:, None]) & (day_D[:, None] < assets.dead_day_I)
    item_M, day_M = np.nonzero((lives_DI & works_D[:, None] & assets.traded_I).T)
    columns = {
        "item_id": item_ids(item_M),
        "price_ts": timestamps(day_M * DAY),
        "close_eur": pa.array(market.close_DI[day_M, item_M]),
    }
    write_table(pa.table(columns), PRICES, path)
    return len(item_M)


def _market_ids(assets: Assets) -> pa.Array:
    own = np.where(assets.traded_I, assets.issuer_I % 3, 3)
    return pa.array(["XETR", "XPAR", "XAMS", None]).take(pa.array(own))


def _fees(market: Market) -> pa.Array:
    """Draw what a fund costs a year, from a stream of its own; nothing else has a fee."""
    rng = np.random.default_rng((market.params.seed, _FEES))
    fee_I = rng.gamma(4.0, 0.25, market.params.items).clip(0.05, 2.5).round(2)
    is_fund_I = market.assets.category_I == CATEGORIES.index("fund")
    return pa.array(fee_I, mask=~is_fund_I)


def _or_null(value_M: npt.NDArray[np.float64]) -> pa.Array:
    return pa.array(value_M, mask=np.isnan(value_M))
