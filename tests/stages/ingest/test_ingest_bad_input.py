"""Whatever is wrong with a whole file is said in one line, and nothing is left behind."""

from __future__ import annotations

import bz2
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tessera.contracts.errors import BadInput, BadParams
from tessera.stages.ingest import decode
from tessera.stages.ingest.params import IngestParams

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")


@pytest.fixture
def refused(ingest, tmp_path):
    """The one line that a source is refused with."""

    def go(source, kind, error=BadInput, **params) -> str:
        with pytest.raises(error) as caught:
            ingest(source, kind, **params)
        line = str(caught.value)
        assert "\n" not in line
        assert not list(tmp_path.glob("out*/.ingest-*"))
        return line

    return go


def test_a_missing_folder_is_named(refused, tmp_path):
    assert "nowhere" in refused(tmp_path / "nowhere", "far_trans")


@pytest.mark.parametrize(
    "name",
    ["transactions.csv", "customer_information.csv", "asset_information.csv", "close_prices.csv"],
)
def test_a_missing_file_is_named(refused, far_trans, name):
    (far_trans / name).unlink()
    assert f"{name}[.gz] is missing" in refused(far_trans, "far_trans")


def test_a_missing_parquet_is_named(refused, market):
    (market / "exposures.parquet").unlink()
    assert "exposures.parquet is missing" in refused(market, "market")


def test_a_renamed_column_is_named_beside_what_was_found(refused, far_trans):
    path = far_trans / "transactions.csv"
    path.write_text(path.read_text().replace("totalValue", "total_value"))
    line = refused(far_trans, "far_trans")
    assert "transactions.csv lacks column totalValue" in line
    assert "total_value" in line


def test_a_renamed_parquet_column_is_named(refused, market):
    path = market / "events.parquet"
    table = pq.read_table(path)
    pq.write_table(table.rename_columns(["id", *table.column_names[1:]]), path)
    assert "events.parquet lacks column event_id: rename it; found id, user_id" in refused(
        market, "market"
    )


def test_a_parquet_column_of_another_kind_is_refused(refused, market):
    path = market / "events.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("event_ts")
    pq.write_table(table.set_column(place, "event_ts", pa.array(range(10))), path)
    assert "column event_ts holds int64, should hold timestamp" in refused(market, "market")


def test_a_column_that_no_row_can_read_is_a_wrong_file(refused, far_trans):
    path = far_trans / "transactions.csv"
    text = path.read_text()
    for amount in ("100.5", ",50,", ",10,"):
        text = text.replace(amount, amount.replace("0", "o").replace("1", "l").replace("5", "S"))
    path.write_text(text)
    line = refused(far_trans, "far_trans")
    assert line.startswith(
        "transactions.csv: column totalValue should hold numbers, but no row does"
    )


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_an_empty_file_is_named(refused, far_trans, content):
    (far_trans / "close_prices.csv").write_bytes(content)
    assert "close_prices.csv is empty" in refused(far_trans, "far_trans")


def test_a_file_with_a_header_alone_has_no_events(refused, far_trans):
    (far_trans / "transactions_reconstructed.csv.gz").unlink()
    path = far_trans / "transactions.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    assert "events: no good row" in refused(far_trans, "far_trans")


def test_a_truncated_gzip_is_named(refused, far_trans):
    rows = "".join(f"I1,2020-01-{n % 28 + 1:02d},{n * 7919 % 997}.5\n" for n in range(20_000))
    packed = gzip.compress(("ISIN,timestamp,closePrice\n" + rows).encode())
    (far_trans / "close_prices.csv").unlink()
    (far_trans / "close_prices.csv.gz").write_bytes(packed[: len(packed) // 2])
    assert "close_prices.csv.gz is truncated" in refused(far_trans, "far_trans")


DAMAGED = {
    "cut": (lambda packed: packed[:-12], "is truncated: fetch it again"),
    "followed": (lambda packed: packed + b"junk", "holds 4 bytes behind its packed end that are"),
    "padded": (lambda packed: packed + bytes(512), "holds 512 bytes behind its packed end that"),
    "second cut": (lambda packed: packed + packed[:-12], "is truncated: fetch it again"),
    "changed": (lambda packed: packed[:40] + bytes(9) + packed[49:], "is damaged: fetch it again"),
}


@pytest.mark.parametrize("how", DAMAGED)
@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_each_damage_of_a_packed_file_is_called_by_its_name(tmp_path, how, ending, pack):
    damage, told = DAMAGED[how]
    text = "".join(f"I1,2020-01-{n % 28 + 1:02d},{n * 7919 % 997}.5\n" for n in range(2_000))
    packed = pack(text.encode())
    path = tmp_path / f"x.csv{ending}"
    path.write_bytes(packed + packed)
    assert len(decode.whole(path)) == 2 * len(text), "two packed parts are one file"
    path.write_bytes(damage(packed))
    with pytest.raises(BadInput) as caught:
        decode.whole(path)
    assert str(caught.value).startswith(f"x.csv{ending} {told}")


def test_a_truncated_movielens_gzip_is_named(refused, movielens):
    path = movielens / "ratings.dat.gz"
    path.write_bytes(path.read_bytes()[:-20])
    assert "ratings.dat.gz is truncated" in refused(movielens, "movielens")


def test_a_truncated_parquet_is_named(refused, market):
    path = market / "events.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    assert "events.parquet is truncated" in refused(market, "market")


def test_a_parquet_damaged_in_the_middle_is_refused(refused, market):
    path = market / "events.parquet"
    data = bytearray(path.read_bytes())
    data[4:400] = b"\xff" * 396
    path.write_bytes(bytes(data))
    assert "fetch it again" in refused(market, "market")


def test_a_file_that_is_not_utf8_is_named(refused, far_trans):
    path = far_trans / "asset_information.csv"
    path.write_bytes(path.read_bytes().replace(b"Beta", b"B\xe9ta"))
    assert "asset_information.csv is not UTF-8" in refused(far_trans, "far_trans")


@pytest.mark.parametrize("content", ["{", "[]", '{"cut": "tomorrow"}', '{"cut": 3}'])
def test_a_request_that_is_none_is_refused(market, tmp_path, content):
    from tessera.stages.ingest.stage import ORDER, run

    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "request.json").write_text(content)
    names = (*ORDER, "quarantine")
    with pytest.raises(BadInput, match=r"request\.json should hold"):
        run(
            source=market,
            request=tmp_path / "request.json",
            split=out / "split.json",
            suitability=out / "suitability.json",
            params=IngestParams(),
            **{name: out / f"{name}.parquet" for name in names},
        )


def test_maps_that_are_no_json_are_named(refused, amazon):
    (amazon / "Toys_datamaps.json").write_text(json.dumps({"id2user": {}}))
    assert "Toys_datamaps.json should hold JSON" in refused(amazon, "amazon")


@pytest.mark.parametrize("cut", ["2023-12-31", "2024-01-10", "2030-01-01T00:00:00+00:00"])
def test_a_cut_that_leaves_one_side_empty_is_refused(refused, market, cut):
    assert "leaves one side empty" in refused(market, "market", BadParams, cut=cut)


def test_a_validation_period_longer_than_the_past_is_refused(refused, market):
    assert "validation_days" in refused(market, "market", BadParams, validation_days=30)


@pytest.mark.parametrize(
    "params",
    [
        {"folds": 2},
        {"source": "twitter"},
        {"memory_limit": "lots"},
        {"validation_days": 0},
        {"unknown": 1},
        {"source": "table"},
        {"source": "amazon", "protocol": "time"},
    ],
)
def test_params_out_of_bounds_are_refused_before_any_work(params):
    with pytest.raises(ValidationError):
        IngestParams(**params)


def test_spark_without_its_extra_says_how_to_get_it(refused, market):
    try:
        import pyspark  # noqa: F401
    except ImportError:
        assert "--extra spark" in refused(market, "market", BadParams, engine="pyspark")
    else:
        pytest.skip("pyspark is installed")
