import json
from types import SimpleNamespace

import duckdb
import numpy as np
import pytest

from tessera.stages.synth.params import SynthParams
from tessera.stages.synth.stage import run
from tessera.stages.synth.truth import load_truth

SMALL = SynthParams(users=600, items=120, requests=24_000, days=200, slate_size=3)


@pytest.fixture(scope="session")
def params():
    return SMALL


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("market") / "source"
    run(source=folder, params=SMALL)
    return folder


@pytest.fixture(scope="session")
def truth(source):
    return load_truth(source)


@pytest.fixture(scope="session")
def busy(tmp_path_factory):
    """A market of many purchases."""
    folder = tmp_path_factory.mktemp("busy") / "source"
    run(source=folder, params=SMALL.model_copy(update={"organic_rate": 2.0, "view_rate": 0.0}))
    return folder


@pytest.fixture(scope="session")
def log(source):
    return read_log(source)


@pytest.fixture(scope="session")
def busy_log(busy):
    return read_log(busy)


@pytest.fixture(scope="session")
def reader():
    return read_log


def read_log(source):
    """The log as numpy: one row a request, responses joined inside the attribution window."""
    days = json.loads((source / "logging_policy.json").read_text())["attribution_days"]
    joined = duckdb.sql(f"""
        with good as (
            select distinct request_id, item_id, action, event_ts from '{source}/outcomes.parquet'
        )
        select x.request_id, position, propensity, x.item_id, candidate_ids, candidate_propensities,
            coalesce(bool_or(good.action = 'click'), false) as click,
            coalesce(bool_or(good.action = 'buy'), false) as buy
        from '{source}/exposures.parquet' x left join good
            on good.request_id = x.request_id and good.item_id = x.item_id
            and good.event_ts <= x.event_ts + interval {days} days
        group by all order by x.request_id, position
    """).to_arrow_table()
    length = int(max(joined["position"].to_pylist()))

    def by_request(name):
        return joined[name].to_numpy().reshape(-1, length)

    candidates = np.array(joined["candidate_ids"].to_pylist())
    candidates_NLC = candidates.reshape(-1, length, candidates.shape[1])
    probability_NLC = np.array(joined["candidate_propensities"].to_pylist())
    return SimpleNamespace(
        item_NL=by_request("item_id"),
        propensity_NL=by_request("propensity"),
        click_NL=by_request("click").astype(bool),
        buy_NL=by_request("buy").astype(bool),
        candidates_NLC=candidates_NLC,
        probability_NLC=probability_NLC.reshape(candidates_NLC.shape),
        chosen_NL=(candidates_NLC == by_request("item_id")[:, :, None]).argmax(axis=2),
    )
