"""What a published bundle says of its items and investors, for those who measure what it showed.

Shapes: I items, U investors, K categories, J issuers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tessera.bundles.manifest import read_manifest
from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.arrow import DAY_US
from tessera.contracts.errors import BrokenBundle, TesseraError
from tessera.contracts.library_errors import translate_errors
from tessera.contracts.split import load_split
from tessera.model.sequences.catalogue import microsecond, microseconds
from tessera.platform.workspace.paths import Workspace
from tessera.shared.metrics.popularity import long_tail
from tessera.shared.policies import serving
from tessera.shared.policies.slate import SlatePolicy
from tessera.shared.policies.suitability import PRUDENT, Unknown


class Classed(NamedTuple):
    """What a bundle says of the class of an investor."""

    risk_class: int
    """0 if it says none."""
    since: int | None
    """Since when that is known, in microseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One bundle."""

    identity: str
    slate: SlatePolicy | None
    """None where nothing is drawn by it."""
    unknown: Unknown
    row: dict[str, int]
    """Row of each item."""
    category_I: list[str]
    issuer_I: list[str]
    risk_I: Ints
    holders_I: Ints
    percentile_I: Float64s
    """Share of the items that more investors hold."""
    tail_I: Bools
    users: int
    listed: int
    """Items that were on sale at the cut."""
    cut_us: int | None
    close_us: int | None
    """Newest close."""
    path: Path

    @property
    def share_I(self) -> Float64s:
        """Share of the investors who hold each item, none of them nothing."""
        return (self.holders_I + 1) / (self.users + 1)

    def classed(self, user_ids: Sequence[str]) -> dict[str, Classed]:
        """Return risk class of the investors that it knows, and since when that is known.

        Where nothing says since when, it is since before all that was told.
        """
        wanted = pc.field("user_id").isin(pa.array(user_ids, pa.string()))
        columns = ["user_id", "risk_class"]
        rows = pq.read_table(self.path / "users.parquet", columns=columns, filters=wanted)
        since, versions = dict[str, int](), self.path / "facts" / "users.parquet"
        if versions.is_file():
            found = pq.read_table(versions, columns=["user_id", "valid_from"], filters=wanted)
            found = found.sort_by("valid_from")
            moments = microseconds(found["valid_from"]).tolist()
            since = dict(zip(found["user_id"].to_pylist(), moments, strict=True))
        risks = rows["risk_class"].fill_null(0).to_pylist()
        told = zip(rows["user_id"].to_pylist(), risks, strict=True)
        return {user: Classed(risk, since.get(user)) for user, risk in told}

    def held(self, user_ids: Sequence[str]) -> dict[str, list[str]]:
        """Return the items held of the investors that it knows."""
        wanted = pa.array(user_ids, pa.string())
        rows = pq.read_table(
            self.path / "users.parquet", columns=["user_id", "held"],
            filters=pc.field("user_id").isin(wanted),
        )  # fmt: skip
        return dict(zip(rows["user_id"].to_pylist(), rows["held"].to_pylist(), strict=True))


def open_facts(workspace: Workspace, version: str, head_share: float) -> Facts | None:
    """Read a bundle by the name under which it answered; None if nobody here knows it.

    Raises
    ------
    BrokenBundle
        If it is there and cannot be read.
    """
    path = _path(workspace, version)
    if path is None:
        return None
    with translate_errors(
        BrokenBundle, f"{path.name}: its tables cannot be read", "publish it again"
    ):
        return read_facts(path, head_share)


def _path(workspace: Workspace, version: str) -> Path | None:
    from tessera.platform.release.trials import challenger

    try:
        return challenger(workspace, version).path
    except TesseraError:
        path = workspace.bundles / version
        return path if "/" not in version and (path / "manifest.json").is_file() else None


def read_facts(path: Path, head_share: float) -> Facts:
    """Read a bundle; the tail lies outside the smallest head with that share of acquisitions."""
    columns = ["item_id", "category", "issuer", "risk_class", "alive", "popularity"]
    items = pq.read_table(path / "items.parquet", columns=columns)
    policy = serving.read_policy(path) if (path / serving.FILE).exists() else None
    holders_I = items["popularity"].fill_null(0).to_numpy().astype(np.int64)
    order = np.argsort(-holders_I, kind="stable")
    percentile_I = np.empty(len(holders_I))
    percentile_I[order] = np.arange(len(holders_I)) / max(len(holders_I), 1)
    split, prices = path / "split.json", path / "facts" / "prices.parquet"
    newest = None
    if prices.exists():
        newest = pc.max(pq.read_table(prices, columns=["price_ts"])["price_ts"]).as_py()
    ids = items["item_id"].to_pylist()
    return Facts(
        str(read_manifest(path)["identity"]),
        policy.slate if policy else None,
        policy.unknown if policy else PRUDENT,
        {item: row for row, item in enumerate(ids)},
        items["category"].fill_null("").to_pylist(),
        items["issuer"].fill_null("").to_pylist(),
        items["risk_class"].fill_null(0).to_numpy().astype(np.int64),
        holders_I,
        percentile_I,
        long_tail(holders_I, head_share=head_share),
        pq.read_metadata(path / "users.parquet").num_rows,
        int(np.count_nonzero(items["alive"].to_numpy())),
        microsecond(load_split(split).cut) if split.exists() else None,
        None if newest is None else microsecond(newest),
        path,
    )


def days_since(moment_us: int, then_us: int | None) -> float:
    """Return days from a moment to a later one, not a number where there is none."""
    return np.nan if then_us is None else (moment_us - then_us) / DAY_US


def segments(workspace: Workspace, user_ids: Sequence[str], until_us: int) -> dict[str, str]:
    """Return the segment of each investor as of a moment, as far as the source says one."""
    path = workspace.artifact("users")
    if not path.is_file():
        return {}
    rows = pq.read_table(
        path, columns=["user_id", "valid_from", "segment"],
        filters=pc.field("user_id").isin(pa.array(user_ids, pa.string())),
    ).sort_by("valid_from")  # fmt: skip
    moment_R = microseconds(rows["valid_from"])
    told = zip(
        rows["user_id"].to_pylist(), rows["segment"].to_pylist(), moment_R.tolist(), strict=True
    )
    return {user: segment for user, segment, at in told if segment and at <= until_us}
