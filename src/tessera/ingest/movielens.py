"""MovieLens: ML-1M `.dat` files or RecBole's atomic files, plain or gzipped (doi 10.1145/2827872).

Nobody asked these people about risk, so there is no risk class; ratings of equal time stay a set.
"""

from __future__ import annotations

from pathlib import Path

import ibis
import ibis.expr.types as ir

from tessera.contracts.rules import IBIS_DTYPE, parsed
from tessera.ingest.draft import Draft, Drafts
from tessera.ingest.engine import FILE, ROW, Engine
from tessera.ingest.params import IngestParams
from tessera.ingest.raw import Layout, Lines, find, maybe, read_lines

_RATINGS = Layout(("user_id", "item_id", "rating", "timestamp"), False, "::", quoted=False)
_MOVIES = Layout(("item_id", "title", "genres"), False, "::", quoted=False)
_PEOPLE = Layout(("user_id", "gender", "age", "occupation", "zip"), False, "::", quoted=False)
_ATOMIC_RATINGS = Layout(("user_id", "item_id", "rating", "timestamp"), True, "\t", False, True)
_ATOMIC_MOVIES = Layout(("item_id", "movie_title", "class"), True, "\t", False, True)
_ATOMIC_PEOPLE = Layout(("user_id", "age", "gender", "occupation"), True, "\t", False, True)
_DIGITS = 12
_ALWAYS = "1970-01-01"
"""People are described without a date, so their row holds from the beginning."""


def drafts(folder: Path, engine: Engine, _params: IngestParams) -> Drafts:
    """Read whichever of the two formats lies in the folder."""
    if maybe(folder, "*.inter"):
        ratings = read_lines(engine, find(folder, "*.inter")[:1], _ATOMIC_RATINGS, "ratings")
        movies = read_lines(engine, find(folder, "*.item")[:1], _ATOMIC_MOVIES, "movies")
        people = maybe(folder, "*.user")[:1], _ATOMIC_PEOPLE
        title = movies.rows.movie_title
        genres = movies.rows["class"]
    else:
        ratings = read_lines(engine, find(folder, "ratings*.dat"), _RATINGS, "ratings")
        movies = read_lines(engine, find(folder, "movies.dat"), _MOVIES, "movies")
        people = maybe(folder, "users.dat"), _PEOPLE
        title = movies.rows.title
        genres = movies.rows.genres.replace("|", " ")
    found = {"items": _items(movies, title, genres), "events": _events(ratings)}
    if people[0]:
        found["users"] = _users(read_lines(engine, people[0], people[1], "people"))
    return found


def _events(lines: Lines) -> Draft:
    raw = lines.rows
    seconds = parsed(raw.timestamp, "int64")
    known = seconds.notnull() & (seconds >= 0) & (seconds < _YEAR_10000)
    moment = ibis.ifelse(known, seconds, ibis.null("int64")).as_timestamp("s")
    rows = raw.select(
        event_id=raw[ROW].cast("string").lpad(_DIGITS, "0"),
        user_id=raw.user_id,
        item_id=raw.item_id,
        action=ibis.literal("rate"),
        event_ts=ibis.ifelse(known, moment.strftime("%Y-%m-%d %H:%M:%S"), raw.timestamp),
        time_kind=ibis.literal("exact"),
        units=raw.rating,
        **{FILE: raw[FILE], ROW: raw[ROW]},
    )
    return Draft(
        rows,
        lines.rejected,
        key=("user_id", "item_id", "event_ts"),
        source_names={"event_ts": "timestamp", "units": "rating"},
    )


_YEAR_10000 = 253_402_300_800


def _items(lines: Lines, title: ir.StringColumn, genres: ir.StringColumn) -> Draft:
    raw = lines.rows
    rows = raw.select(
        item_id=raw.item_id,
        name=title,
        category=ibis.literal("film"),
        subcategory=genres.nullif(""),
        text=title.fill_null("") + " " + genres.fill_null(""),
        **{FILE: raw[FILE], ROW: raw[ROW]},
    )
    return Draft(rows, lines.rejected, source_names={"name": "title"})


def _users(lines: Lines) -> Draft:
    raw = lines.rows
    rows = raw.select(
        user_id=raw.user_id,
        valid_from=ibis.literal(_ALWAYS),
        risk_class=ibis.null(IBIS_DTYPE["int64"]),
        segment=raw.occupation,
        **{FILE: raw[FILE], ROW: raw[ROW]},
    )
    return Draft(rows, lines.rejected)
