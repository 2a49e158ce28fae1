"""Lists from what people did: train the sequence model on frames, and list for each user."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from tessera.contracts.arrow import schema
from tessera.contracts.cut import moment
from tessera.contracts.errors import BadInput, BadParams
from tessera.contracts.frames import Frame, as_arrow, conform
from tessera.contracts.split import Split, usual_validation
from tessera.contracts.tables import CODES, EVENTS, ITEMS
from tessera.model.nn.device import chosen_device, threads
from tessera.model.params import HstuParams
from tessera.model.sequences.catalogue import read_catalogue, read_codes, rows_of
from tessera.model.sequences.dataset import Dataset
from tessera.model.sequences.reading import read_histories
from tessera.model.trainer.parallel import together
from tessera.model.training.fit import fit
from tessera.model.trunk.lists import rank_users
from tessera.model.trunk.model import SequenceModel


@dataclass(frozen=True, slots=True)
class Recommender:
    """A trained model with the histories that it lists for."""

    model: SequenceModel
    dataset: Dataset
    params: HstuParams


def train(
    events: Frame,
    items: Frame,
    *,
    cut: datetime | str | None = None,
    params: HstuParams | None = None,
) -> Recommender:
    """Train the sequence model on events and items alone.

    Without semantic codes, a graph and logged slates it is the trunk with its closed forms: what
    the pipeline trains on top of those needs the pipeline.

    Parameters
    ----------
    events : Frame
        user_id, item_id, action (view, click, buy, sell, dismiss or rate) and event_ts (UTC);
        optional: event_id, which orders what happened at the same time.
    items : Frame
        item_id; optional: category, subcategory, market_id (classes of items), valid_from and
        valid_to (UTC; when an item can be bought).
    cut : datetime or str, optional
        Last moment to learn from, UTC unless it says otherwise; the last event if there is none.
    params : HstuParams, optional
        As section `hstu` of params.yaml.

    Returns
    -------
    Recommender
        The same bytes for the same rows, params and machine.

    Raises
    ------
    BadInput
        If a column is missing, a row breaks the contract, or an event is of an unknown item.
    BadParams
        If the cut leaves nothing to learn from, or no event is of an action to learn from.
    """
    params = params or HstuParams()
    goods = conform(items, ITEMS, {"name": "unnamed"})
    done = conform(_numbered(events), EVENTS, {"time_kind": "exact"})
    unknown = done.anti_join(goods, "item_id").to_pyarrow()["item_id"]
    if len(unknown):
        raise BadInput(
            f"events: {len(unknown)} rows are of items that are not in items, such as "
            f"{unknown[0].as_py()!r}: add the items or drop the rows"
        )
    split = _split(done, moment(cut), params)
    catalogue = read_catalogue(goods)
    codes_VC = read_codes(ibis.memtable(schema(CODES).empty_table()), catalogue.vocabulary)
    shared = together(chosen_device(params.device), params.batch_parts, params.model_dump())
    with threads(params.threads), shared:
        histories = read_histories(done, split, catalogue.vocabulary, tied_sets=params.tied_sets)
        dataset = Dataset(split, catalogue, codes_VC, histories)
        return Recommender(fit("hstu", dataset, params, None).model, dataset, params)


def recommend(
    recommender: Recommender, user_ids: Iterable[str] | None = None, *, top: int | None = None
) -> pa.Table:
    """List the best items of each user as of the cut.

    Parameters
    ----------
    recommender : Recommender
        What `train` returned.
    user_ids : iterable of str, optional
        Whom to list for; everybody with an event if there is none.
    top : int, optional
        Items in a list; `hstu.top` if there is none.

    Returns
    -------
    pa.Table
        user_id, rank (1 is the best), item_id, score (higher is better), by user_id and rank.
        Fewer rows where fewer items are left: `hstu.filter_seen` leaves out what a user has.

    Raises
    ------
    BadInput
        If a user has no event.
    BadParams
        If `top` is below 1.
    """
    known = recommender.dataset.histories.user_id_U
    wanted = known if user_ids is None else sorted({str(one) for one in user_ids})
    user_Q = rows_of(pa.array(wanted, pa.string()), known)
    if strange := [one for one, row in zip(wanted, user_Q, strict=True) if row < 0]:
        raise BadInput(
            f"{len(strange)} users have no event, such as {strange[0]!r}: leave them out"
        )
    params = recommender.params
    if top is not None:
        if top < 1:
            raise BadParams(f"top is {top}: ask for at least 1 item")
        params = params.model_copy(update={"top": top})
    with threads(params.threads):
        rows = rank_users(recommender.model, recommender.dataset, params, user_Q=user_Q)
    return rows.drop_columns("model")


def _numbered(events: Frame) -> pa.Table:
    """Give each event its row as id, so that ties keep the order of the frame."""
    rows = as_arrow(events, EVENTS.name)
    if "event_id" in rows.column_names:
        return rows
    return rows.append_column("event_id", pa.array([f"{row:012d}" for row in range(len(rows))]))


def _split(events: ir.Table, cut: datetime | None, params: HstuParams) -> Split:
    """Learn until the cut; nothing is tested here, so the test period is empty."""
    wanted = events.filter(events.action.isin(params.targets))
    found = wanted.agg(first=wanted.event_ts.min(), last=events.event_ts.max()).to_pyarrow()
    first, last = (found[name][0].as_py() for name in ("first", "last"))
    if first is None:
        raise BadParams(f"no event is one of {', '.join(params.targets)} (hstu.targets): add some")
    cut = cut or last
    begins = usual_validation(first, cut)
    if not first < begins:
        raise BadParams(f"cut {cut.isoformat()} leaves nothing to learn from: move it on")
    return Split(begins, cut, cut)
