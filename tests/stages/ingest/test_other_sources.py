"""MovieLens, Amazon and mapped tables, each in its own format."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.contracts.errors import BadInput
from tessera.contracts.split import load_split

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")


def test_ratings_keep_file_order_and_equal_times(ingest, movielens):
    out = ingest(movielens, "movielens")
    events = out.rows("events")
    assert [row["event_id"] for row in events] == [f"{n:012d}" for n in range(1, 21)]
    assert events[0]["event_ts"] == events[1]["event_ts"] == datetime.fromtimestamp(978300000, UTC)
    assert {row["action"] for row in events} == {"rate"}
    assert [row["units"] for row in events[:5]] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert out.rows("items")[0]["name"] == "Café 1 (1995)"
    assert out.rows("items")[0]["subcategory"] == "Drama Comedy"
    assert out.rows("users") == out.rows("prices") == []


def test_ratings_are_cut_where_nine_tenths_lie_before(ingest, movielens):
    split = ingest(movielens, "movielens").split
    assert split.validation_from < split.cut < split.test_until
    assert split.cut == datetime.fromtimestamp(978300000 + 8.1 * 86400, UTC)


def test_a_rating_given_twice_is_set_aside(ingest, movielens):
    twice, differing = ["1::1::5::978300000"] * 2, ["2::1::5::978300000", "2::1::4::978300000"]
    lines = [*twice, *differing, "3::x::5::978300001", "torn"]
    lines += ["3::2::5::978900000", "2::2::5::978900001"]
    (movielens / "ratings.dat").write_text("\n".join(lines) + "\n")
    out = ingest(movielens, "movielens", "2001-01-05", validation_days=1)
    assert out.rows("quarantine")[0]["source_row"] == 6
    assert out.reasons() == [
        ("events", "duplicate"),
        ("events", "item_id: not in items"),
        ("events", "key (user_id, item_id, timestamp): rows differ"),
        ("events", "key (user_id, item_id, timestamp): rows differ"),
        ("events", "line has 1 values instead of 4"),
    ]


def test_atomic_files_are_read_too(ingest, tmp_path):
    folder = tmp_path / "atomic"
    folder.mkdir()
    (folder / "x.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        + "".join(f"{n % 2}\t1\t3\t{881250949 + n * 100_000}\n" for n in range(30))
        + "1\t1\t3\tsoon\n"
    )
    (folder / "x.item").write_text(
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        '1\t"Quoted" Story\t1995\tComedy\n'
    )
    (folder / "x.user").write_text(
        "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n1\t24\tM\tartist\t1\n"
    )
    out = ingest(folder, "movielens")
    assert out.metrics["events_good"] == 30
    assert out.reasons() == [("events", "event_ts: not an ISO date, such as 'soon'")]
    assert out.rows("items")[0]["name"] == '"Quoted" Story'
    (user,) = out.rows("users")
    assert (user["segment"], user["risk_class"]) == ("artist", None)
    assert out.rows("links") == []
    (folder / "x.link").write_text("item_id:token\tentity_id:token\n1\tm.1\n9\tm.9\n")
    (folder / "x.kg").write_text(
        "head_id:token\trelation_id:token\ttail_id:token\n"
        "m.1\tfilm.actor\tm.7\nm.7\tactor.film\tm.1\nm.9\tfilm.actor\tm.7\n"
    )
    out = ingest(folder, "movielens")
    link = {"item_id": "1", "relation": "film.actor", "target_id": "m.7", "valid_from": None}
    assert out.rows("links") == [link], "what a film is the head of"
    assert ("links", "item_id: not in items") in out.reasons()


LINKED = "item_id:token\tentity_id:token\n"
TRIPLES = "head_id:token\trelation_id:token\ttail_id:token\n"


@pytest.fixture
def atomic(tmp_path):
    """Two films with ratings, and what is told of them."""

    def write(entities, triples):
        folder = tmp_path / "atomic"
        folder.mkdir(exist_ok=True)
        (folder / "x.inter").write_text(
            "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
            + "".join(f"{n % 2}\t{n % 2 + 1}\t3\t{881250949 + n * 100_000}\n" for n in range(30))
        )
        (folder / "x.item").write_text(
            "item_id:token\tmovie_title:token_seq\tclass:token_seq\n1\tA\tComedy\n2\tB\tDrama\n"
        )
        (folder / "x.link").write_text(LINKED + entities)
        (folder / "x.kg").write_text(TRIPLES + triples)
        return folder

    return write


def test_every_line_of_a_knowledge_graph_is_a_link_bad_or_left_out(ingest, atomic):
    triples = "m.1\ta\tm.7\nm.7\tb\tm.1\n\ta\tm.7\nm.1\ttorn\nm.1\ta\tm.7\nm.2\ta\t\n"
    out = ingest(atomic("1\tm.1\n2\tm.1\ttorn\n2\tm.1\n2\tm.2\n", triples), "movielens")
    assert [(row["item_id"], row["target_id"]) for row in out.rows("links")] == [
        ("1", "m.7"), ("2", "m.7")
    ]  # fmt: skip
    assert [reason for table, reason in out.reasons() if table == "links"] == [
        "duplicate", "duplicate", "item_id: missing", "line has 2 values instead of 3",
        "line has 3 values instead of 2", "target_id: missing",
    ]  # fmt: skip
    told = {name: out.metrics[f"links_{name}"] for name in ("in", "good", "left_out", "split")}
    assert told == {"in": 8.0, "good": 2.0, "left_out": 4.0, "split": 2.0}
    assert out.metrics["links_lines"] == 12.0


@pytest.mark.parametrize(("entities", "triples"), [
    ("1\tM.1\n", "m.1\ta\tm.7\n"), ("1\tm.1\n", " m.1\ta\tm.7\n\ta\tm.7\n"),
    ("", "m.1\ta\tm.7\n"),
])  # fmt: skip
def test_a_knowledge_graph_that_says_nothing_of_any_film_is_refused(
    ingest, atomic, entities, triples
):
    with pytest.raises(BadInput, match=r"no triple of x.kg begins with an entity of x.link: see"):
        ingest(atomic(entities, triples), "movielens")
    assert ingest(atomic("1\tm.1\n", ""), "movielens").rows("links") == []


def test_a_sequence_becomes_ordinal_events(ingest, amazon):
    out = ingest(amazon, "amazon")
    first, *_ = events = sorted(out.rows("events"), key=lambda row: row["event_id"])
    assert [row["item_id"] for row in events] == ["A2", "A1", "A3", "A3", "A1", "A2"]
    assert [row["user_id"] for row in events] == ["UA"] * 3 + ["UB"] * 3
    assert (first["time_kind"], first["event_ts"]) == (
        "ordinal",
        datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
    )
    split = load_split(out.folder / "split.json")
    assert (split.ordinal, split.protocol, split.folds) == (True, "leave_last_out", ())


def test_an_item_without_a_readable_line_is_known_by_its_name_alone(ingest, amazon):
    out = ingest(amazon, "amazon")
    doll, ball, bare = out.rows("items")
    assert doll["name"] == "Doll & House"
    assert (doll["subcategory"], doll["issuer"]) == ("Dolls", "Acme")
    assert doll["text"] == "Doll & House Acme Toys, Dolls"
    assert ball["issuer"] is None
    assert (bare["item_id"], bare["name"], bare["text"]) == ("A3", "A3", None)
    assert out.reasons() == [("items", "line has 2 values instead of 7")]


MAPPING = {
    "events": {
        "file": "trades.csv",
        "columns": {
            "user_id": "client",
            "item_id": "paper",
            "event_ts": "day",
            "amount_eur": "eur",
        },
        "constants": {"action": "buy"},
        "delimiter": ";",
    },
    "items": {"file": "papers.parquet", "columns": {"item_id": "paper", "name": "paper"}},
}


@pytest.fixture
def trades(tmp_path):
    folder = tmp_path / "bank"
    folder.mkdir()
    days = "".join(f"c{n % 3};p1;2024-03-{n + 1:02d}T10:00:00+02:00;{n}.5;x\n" for n in range(20))
    (folder / "trades.csv").write_text("client;paper;day;eur;note\n" + days)
    pq.write_table(pa.table({"paper": ["p1", "p2"]}), folder / "papers.parquet")
    return folder


def test_any_table_can_be_mapped(ingest, trades):
    out = ingest(trades, "table", mapping=MAPPING)
    first = out.rows("events")[0]
    assert (first["event_id"], first["action"], first["time_kind"]) == (
        "000000000001",
        "buy",
        "exact",
    )
    assert first["event_ts"] == datetime(2024, 3, 1, 8, tzinfo=UTC)
    assert first["amount_eur"] == 0.5
    assert [row["name"] for row in out.rows("items")] == ["p1", "p2"]


def test_a_mapping_to_a_column_that_is_not_there_is_named(ingest, trades):
    from tessera.contracts.errors import BadInput

    wrong = MAPPING | {
        "items": {"file": "papers.parquet", "columns": {"item_id": "isin", "name": "paper"}}
    }
    with pytest.raises(
        BadInput, match=r"papers\.parquet lacks column isin: rename it; found paper"
    ):
        ingest(trades, "table", mapping=wrong)


@pytest.mark.real_data
def test_the_official_films_come_in_whole(ingest, official):
    out = ingest(official / "movielens-1m", "movielens")
    assert out.metrics["events_in"] == out.metrics["events_good"] == 487_650
    assert out.metrics["items_good"] == 3_883
    assert out.metrics["rows_quarantined"] == 0


@pytest.mark.real_data
def test_the_official_atomic_films_come_in_whole(ingest, official):
    out = ingest(official / "movielens-100k", "movielens")
    relations = {row["relation"] for row in out.rows("links")}
    assert {"film.film.actor", "film.film.genre", "film.film.country"} <= relations
    assert not {row["item_id"] for row in out.rows("links")} - {
        row["item_id"] for row in out.rows("items")
    }
    assert out.metrics["events_in"] == out.metrics["events_good"] == 100_000
    assert out.metrics["users_good"] == 943


@pytest.mark.real_data
def test_the_official_sequences_come_in_whole_but_for_four_lines(ingest, official):
    out = ingest(official / "amazon-2014-5core", "amazon")
    assert out.metrics["events_in"] == out.metrics["events_good"] == 198_502
    assert out.metrics["items_good"] == 12_101
    assert [table for table, _ in out.reasons()] == ["items"] * 4
