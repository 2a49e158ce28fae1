"""MovieLens: ML-1M `.dat` files or RecBole's atomic files, plain or gzipped (doi 10.1145/2827872).

Nobody asked these people about risk, so there is no risk class; ratings of equal time stay a set.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ibis
import ibis.expr.types as ir

from tessera.contracts.errors import BadInput
from tessera.contracts.rules import IBIS_DTYPE, parsed
from tessera.stages.ingest.counts import Counts
from tessera.stages.ingest.draft import Draft, Drafts
from tessera.stages.ingest.engine import FILE, ROW, Engine
from tessera.stages.ingest.find import Found, find, listed, maybe, only, unpacked
from tessera.stages.ingest.layout import Layout
from tessera.stages.ingest.params import IngestParams
from tessera.stages.ingest.raw import NUMBER, Lines, read_lines


def _dat(*columns: str) -> Layout:
    """Describe a `.dat` file; GroupLens writes Latin-1, later copies UTF-8."""
    return Layout(columns, 0, "::", quoted=False, fallback="latin-1", names=columns)


_RATINGS = _dat("user_id", "item_id", "rating", "timestamp")
_MOVIES = _dat("item_id", "title", "genres")
_PEOPLE = _dat("user_id", "gender", "age", "occupation", "zip")
_ATOMIC_RATINGS = Layout(("user_id", "item_id", "rating", "timestamp"), 1, "\t", False, True)
_ATOMIC_MOVIES = Layout(("item_id", "movie_title", "class"), 1, "\t", False, True)
_ATOMIC_PEOPLE = Layout(("user_id", "age", "gender", "occupation"), 1, "\t", False, True)
_ATOMIC_ENTITIES = Layout(("item_id", "entity_id"), 1, "\t", False, True)
_ATOMIC_TRIPLES = Layout(("head_id", "relation_id", "tail_id"), 1, "\t", False, True)
_DIGITS = 12
_SPLIT = ("train", "valid", "test")
"""Parts that RecBole reads of one data set, `<name>.<part>.inter`."""
_FRACTION = "[.][0-9]+$"
"""RecBole calls its seconds floats."""
_ALWAYS = "1970-01-01"
"""People are described without a date, so their row holds from the beginning."""


def drafts(folder: Path, engine: Engine, _params: IngestParams) -> Drafts:
    """Read whichever of the two formats lies in the folder."""
    atomic, dat = maybe(folder, "*.inter"), maybe(folder, "ratings*.dat")
    if atomic and dat:
        raise BadInput(f"{listed([*atomic, *dat])} are two formats in {folder}: leave one")
    if atomic:
        name, parts = _dataset(atomic)
        ratings = read_lines(engine, parts, _ATOMIC_RATINGS, "ratings")
        movies = read_lines(engine, [_beside(folder, name, ".item")], _ATOMIC_MOVIES, "movies")
        people = maybe(folder, "*.user") and [_beside(folder, name, ".user")], _ATOMIC_PEOPLE
        title = movies.rows.movie_title
        genres = movies.rows["class"]
    else:
        ratings = read_lines(engine, [only(folder, "ratings*.dat")], _RATINGS, "ratings")
        movies = read_lines(engine, find(folder, "movies.dat"), _MOVIES, "movies")
        people = maybe(folder, "users.dat"), _PEOPLE
        title = movies.rows.title
        genres = movies.rows.genres.replace("|", " ")
    found = {"items": _items(movies, title, genres), "events": _events(ratings)}
    if atomic and (graph := maybe(folder, name + ".kg")):
        films = _beside(folder, name, ".link")
        entities = read_lines(engine, [films], _ATOMIC_ENTITIES, "entities")
        triples = read_lines(engine, graph, _ATOMIC_TRIPLES, "triples")
        found["links"] = _links(entities, triples, engine)
        if _says_nothing(found["links"], triples):
            raise BadInput(
                f"no triple of {listed(graph)} begins with an entity of {films.label}: see that "
                "both write entities alike (case, blanks)"
            )
    if people[0]:
        found["users"] = _users(read_lines(engine, people[0], people[1], "people"))
    return found


def _dataset(found: list[Found]) -> tuple[str, list[Found]]:
    """Name the one data set in a folder and list its files: whole, or split by RecBole in parts."""
    names = {unpacked(one.label).removesuffix(".inter"): one for one in found}
    (name, *others) = sorted({_whole(name) for name in names})
    parts = [names[part] for part in (f"{name}.{part}" for part in _SPLIT) if part in names]
    if others or (parts and name in names):
        raise BadInput(f"{listed(found)} overlap or are several data sets: leave one")
    if parts and f"{name}.train" not in names:
        raise BadInput(
            f"{listed(parts)} is a part, but {name}.train.inter is missing: put it there"
        )
    return name, parts or [names[name]]


def _whole(name: str) -> str:
    """Take the part off the name of a presplit file."""
    stem, _, part = name.rpartition(".")
    return stem if stem and part in _SPLIT else name


def _beside(folder: Path, name: str, ending: str) -> Found:
    """Find the file of items or people that belongs to a data set."""
    own = maybe(folder, name + ending)
    return own[0] if own else only(folder, "*" + ending)


def _events(lines: Lines) -> Draft:
    raw = lines.rows
    seconds = parsed(raw.timestamp.strip().re_replace(_FRACTION, ""), "int64")
    known = seconds.notnull() & (seconds >= 0) & (seconds < _YEAR_10000)
    moment = ibis.ifelse(known, seconds, ibis.null("int64")).as_timestamp("s")
    fraction = raw.timestamp.strip().re_extract(_FRACTION, 0)
    rows = raw.select(
        event_id=raw[NUMBER].cast("string").lpad(_DIGITS, "0"),
        user_id=raw.user_id,
        item_id=raw.item_id,
        action=ibis.literal("rate"),
        event_ts=ibis.ifelse(known, moment.strftime("%Y-%m-%d %H:%M:%S") + fraction, raw.timestamp),
        time_kind=ibis.literal("exact"),
        units=raw.rating,
        **{FILE: raw[FILE], ROW: raw[ROW]},
    )
    return Draft(
        rows,
        lines.rejected,
        counts=lines.counts,
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
    return Draft(rows, lines.rejected, source_names={"name": "title"}, counts=lines.counts)


def _links(entities: Lines, triples: Lines, engine: Engine) -> Draft:
    """Return what the films are the heads of; a triple of another head says nothing of a film.

    Lines of both files are counted, and those that are no link as left out.  A triple without a
    head is a bad row.
    """
    raw, films = triples.rows, entities.rows.select("item_id", film="entity_id").distinct()
    beside = raw.left_join(films, raw.head_id == films.film)
    rows, count = engine.keep(
        beside.filter(beside.film.notnull() | beside.head_id.isnull()).select(
            item_id="item_id",
            relation=ibis._.relation_id,
            target_id=ibis._.tail_id,
            **{FILE: ibis._[FILE], ROW: ibis._[ROW]},
        ),
        "links",
    )
    rejected = (*entities.rejected, *triples.rejected)
    led = rows.select(FILE, ROW).distinct().count().to_pyarrow().as_py()
    counts = replace(triples.counts)
    counts.add(entities.counts)
    counts.add(Counts(left_out=counts.records - len(rejected) - led, split=count - led))
    names = {"item_id": "head_id", "relation": "relation_id", "target_id": "tail_id"}
    return Draft(rows, rejected, counts=counts, source_names=names)


def _says_nothing(links: Draft, triples: Lines) -> bool:
    """Tell whether there are triples, and none of them is of a film."""
    read = triples.counts.records > len(triples.rejected)
    return read and not links.rows.item_id.count().to_pyarrow().as_py()


def _users(lines: Lines) -> Draft:
    raw = lines.rows
    rows = raw.select(
        user_id=raw.user_id,
        valid_from=ibis.literal(_ALWAYS),
        risk_class=ibis.null(IBIS_DTYPE["int64"]),
        segment=raw.occupation,
        **{FILE: raw[FILE], ROW: raw[ROW]},
    )
    return Draft(rows, lines.rejected, counts=lines.counts)
