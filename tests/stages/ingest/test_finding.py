"""Which files a name means, and what is said where it could mean another."""

from __future__ import annotations

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.contracts.errors import BadInput
from tessera.stages.ingest.engine import open_engine
from tessera.stages.ingest.find import find
from tessera.stages.ingest.params import IngestParams
from tessera.stages.ingest.reader import drafts

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")

HEADER = "client,isin,day\n"
COLUMNS = {"user_id": "client", "item_id": "isin", "event_ts": "day"}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "bank"
    folder.mkdir()
    return folder


@pytest.fixture
def events(folder, loose):
    """Rows of a mapped table of events, after whatever the folder holds."""

    def go(file: str | list[str], **columns: str) -> list[dict]:
        mapping = {
            "events": {"file": file, "columns": COLUMNS | columns},
            "items": {"file": file, "columns": {"item_id": "isin", "name": "isin"}},
        }
        return rows_of(folder, loose(mapping))

    return go


def rows_of(folder, params: IngestParams) -> list[dict]:
    with open_engine(params, folder.parent) as engine:
        draft = drafts(folder, engine, params)["events"]
        with engine.batches(draft.rows.order_by("event_id")) as batches:
            return batches.read_all().to_pylist()


def part(first: int, count: int) -> str:
    return HEADER + "".join(f"u{n},p1,2024-01-{n + 1:02d}\n" for n in range(first, first + count))


def users(rows: list[dict]) -> list[str]:
    return [row["user_id"] for row in rows]


def test_a_name_is_taken_as_it_stands_before_it_is_a_pattern(folder, events):
    (folder / "orders [2021].csv").write_text(part(0, 2))
    (folder / "orders 2.csv").write_text(part(5, 2))
    assert users(events("orders [2021].csv")) == ["u0", "u1"]


def test_parts_are_one_table_with_numbers_of_their_own(folder, events):
    for number in (10, 2, 1):
        (folder / f"part-{number}.csv").write_text(part(number, number))
    rows = events("part-*.csv")
    assert users(rows) == ["u1", "u2", "u3", *(f"u{n}" for n in range(10, 20))]
    assert len({row["event_id"] for row in rows}) == 13
    assert [row["source_row"] for row in rows] == [1, 1, 2, *range(1, 11)]
    assert rows[-1]["source_file"] == "part-10.csv"


def test_parts_of_parquet_have_numbers_of_their_own_too(folder, events):
    for number in (0, 1):
        table = pa.table({"client": ["a", "b"], "isin": ["p1"] * 2, "day": ["2024-01-01"] * 2})
        pq.write_table(table, folder / f"part-{number}.parquet")
    rows = events("part-*.parquet")
    assert [row["event_id"] for row in rows] == [f"{number:012d}" for number in (1, 2, 3, 4)]
    assert [row["source_row"] for row in rows] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    "pattern", ["Ums\u00e4tze/K\u00e4ufe-*.csv", "Umsa\u0308tze/Ka\u0308ufe-*.csv"]
)
def test_parts_are_found_however_their_accents_are_stored(folder, events, pattern):
    inside = folder / "Umsa\u0308tze"
    inside.mkdir()
    (inside / "K\u00e4ufe-1.csv").write_text(part(0, 1))
    (inside / "Ka\u0308ufe-2.csv").write_text(part(1, 1))
    with gzip.open(inside / "Ka\u0308ufe-3.csv.gz", "wt") as file:
        file.write(part(2, 1))
    assert sorted(users(events(pattern))) == ["u0", "u1", "u2"]
    assert users(events(pattern.replace("*", "1"))) == ["u0"]
    assert users(events(pattern.replace("*", "3"))) == ["u2"], "the packed one stands for it"


def test_a_list_is_read_in_its_order(folder, events):
    (folder / "b.csv").write_text(part(0, 1))
    with gzip.open(folder / "a.csv.gz", "wt") as file:
        file.write(part(1, 1))
    assert users(events(["b.csv", "a.csv"])) == ["u0", "u1"]
    with pytest.raises(BadInput, match=r"b\.csv is named twice"):
        events(["b.csv", "*.csv"])


def test_a_folder_is_read_whole_but_for_what_tools_leave(folder, events):
    inside = folder / "orders.csv"
    inside.mkdir()
    (inside / "part-0.csv").write_text(part(0, 1))
    (inside / "part-1.csv").write_text(part(1, 1))
    for name in ("_SUCCESS", ".part-0.csv.crc", "._part-0.csv"):
        (inside / name).write_text("")
    assert users(events("orders.csv")) == ["u0", "u1"]


@pytest.mark.parametrize("name", ["orders", "orders/**/*.parquet", "orders/year=*"])
def test_partitions_give_their_column(folder, events, name):
    for year in ("2023", "2024", "__HIVE_DEFAULT_PARTITION__"):
        inside = folder / "orders" / f"year={year}" / "chan%20nel=a%20b"
        inside.mkdir(parents=True)
        table = pa.table({"client": [f"u{year[:4]}"], "isin": ["p1"], "day": ["2024-01-01"]})
        pq.write_table(table, inside / "part-0.snappy.parquet")
    rows = events(name, channel="chan nel", units="year")
    assert {(row["user_id"], row["units"], row["channel"]) for row in rows} == {
        ("u2023", "2023", "a b"),
        ("u2024", "2024", "a b"),
        ("u__HI", None, "a b"),
    }


def test_a_column_of_the_file_and_of_its_folder_is_refused(folder, events):
    inside = folder / "day=2024-01-01"
    inside.mkdir()
    (inside / "a.csv").write_text(part(0, 1))
    with pytest.raises(BadInput, match=r"day=2024-01-01/a\.csv has column day twice"):
        events("day=2024-01-01/a.csv")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("/orders.csv", "/orders.csv is an absolute path: name the file relative to"),
        ("../orders.csv", "leads out of"),
        ("none.csv", r"none\.csv\[\.gz\] is missing in .*: put it there; found a\.csv"),
        ("b*.csv", "is missing in"),
        ("**a.csv", "is no pattern of file names"),
        ("empty", "empty is a folder without files"),
    ],
)
def test_what_is_not_there_is_refused_with_the_true_reason(folder, name, told):
    (folder / "a.csv").write_text(part(0, 1))
    (folder / "empty").mkdir()
    with pytest.raises(BadInput, match=told):
        find(folder, name)


def test_a_plain_file_stands_before_its_packed_twin_and_two_packed_are_refused(folder):
    for name in ("a.csv", "a.csv.gz", "b.csv.gz", "b.csv.zst"):
        (folder / name).write_text("x")
    assert [one.label for one in find(folder, "a.csv")] == ["a.csv"]
    assert [one.label for one in find(folder, "a*.csv")] == ["a.csv"]
    with pytest.raises(BadInput, match=r"b\.csv lies in .* as b\.csv\.gz, b\.csv\.zst"):
        find(folder, "b.csv")


def test_a_part_with_other_columns_is_named(folder, events):
    (folder / "part-0.csv").write_text(part(0, 2))
    (folder / "part-1.csv").write_text("u2,p1,2024-01-03\n")
    with pytest.raises(BadInput, match=r"part-1\.csv lacks column .* begins with u2, p1"):
        events("part-*.csv")


def test_parts_may_have_their_columns_in_another_order(folder, events):
    (folder / "part-0.csv").write_text(part(0, 1))
    (folder / "part-1.csv").write_text("day,extra,client,isin\n2024-01-03,x,u1,p1\n")
    assert users(events("part-*.csv")) == ["u0", "u1"]


def test_text_and_parquet_are_no_one_table(folder, events):
    (folder / "part-0.csv").write_text(part(0, 1))
    pq.write_table(pa.table({"client": ["u"]}), folder / "part-1.parquet")
    with pytest.raises(BadInput, match="Parquet and text"):
        events("part-*")


RATINGS = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"


@pytest.fixture
def atomic(folder):
    (folder / "ml.item").write_text(
        "item_id:token\tmovie_title:token_seq\tclass:token_seq\n1\tOne\tDrama\n"
    )

    def write(name: str, *people: str) -> None:
        lines = "".join(f"{who}\t1\t5\t97830000{n}.5\n" for n, who in enumerate(people))
        (folder / name).write_text(RATINGS + lines)

    return write


@pytest.fixture
def ratings(folder):
    return lambda: rows_of(folder, IngestParams(source="movielens"))


def test_a_presplit_data_set_is_read_whole(atomic, ratings):
    atomic("ml.train.inter", "u1", "u2")
    atomic("ml.valid.inter", "u3")
    atomic("ml.test.inter", "u4")
    rows = ratings()
    assert users(rows) == ["u1", "u2", "u3", "u4"]
    assert len({row["event_id"] for row in rows}) == 4
    assert rows[0]["event_ts"] == "2000-12-31 22:00:00.5"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["ml.test.inter"], r"ml\.train\.inter is missing"),
        (["ml.inter", "ml.train.inter"], "overlap or are several data sets"),
        (["ml.inter", "other.inter"], r"ml\.inter, other\.inter overlap"),
        (["ml.inter", "ratings.dat"], "two formats"),
    ],
)
def test_ratings_that_may_be_several_sets_are_refused_with_the_list(atomic, ratings, names, told):
    for name in names:
        atomic(name, "u1")
    with pytest.raises(BadInput, match=told):
        ratings()


def test_items_are_those_of_the_data_set(atomic, ratings, folder):
    atomic("ml.inter", "u1")
    (folder / "a.item").write_text("nothing")
    assert users(ratings()) == ["u1"]
    (folder / "ml.item").rename(folder / "b.item")
    with pytest.raises(BadInput, match=r"2 files match \*\.item in .*: a\.item, b\.item"):
        ratings()


def test_a_copy_beside_the_official_trades_is_refused(far_trans):
    (far_trans / "transactions_old.csv").write_text((far_trans / "transactions.csv").read_text())
    with pytest.raises(BadInput, match=r"transactions_old\.csv lies beside transactions\.csv"):
        rows_of(far_trans, IngestParams(source="far_trans"))


@pytest.mark.parametrize("name", ["README.txt", "A.txt", "Toys_notes.txt"])
def test_the_sequences_are_found_among_other_texts(amazon, name):
    (amazon / name).write_text("10 things\nto know\n")
    rows = rows_of(amazon, IngestParams(source="amazon"))
    assert len(rows) == 6


def test_two_files_that_read_like_sequences_are_refused_unless_one_is_named(amazon):
    (amazon / "Shop.txt").write_text("1 2\n")
    assert len(rows_of(amazon, IngestParams(source="amazon"))) == 6
    (amazon / "Toys.txt.gz").rename(amazon / "Other.txt.gz")
    told = r"2 of Other\.txt\.gz, Shop\.txt read like sequences: name the one .* Toys\.txt"
    with pytest.raises(BadInput, match=told):
        rows_of(amazon, IngestParams(source="amazon"))


def test_a_line_of_a_user_alone_is_set_aside(amazon, tmp_path):
    with gzip.open(amazon / "Toys.txt.gz", "at") as file:
        file.write("2\n")
    params = IngestParams(source="amazon")
    with open_engine(params, tmp_path) as engine:
        (one,) = drafts(amazon, engine, params)["events"].rejected
    assert (one.source_row, one.reason) == (3, "line holds a user and no item")
