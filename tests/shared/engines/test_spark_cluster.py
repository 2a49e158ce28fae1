"""Spark runs in the process of the stage, unheard, unless a cluster is named."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tessera.shared.engines.spark import ADDRESS, MASTER, _started


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Return what a builder of sessions is told; nothing starts."""
    told = {}
    session = SimpleNamespace(sparkContext=SimpleNamespace(setLogLevel=lambda _: None))
    builder = SimpleNamespace(getOrCreate=lambda: session)
    builder.master = lambda name: told.update(master=name) or builder
    builder.appName = lambda name: told.update(name=name) or builder
    builder.config = lambda map: told.update(map) or builder

    def go(**variables):
        for name in (MASTER, ADDRESS):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        _started(builder, 3, tmp_path, "graph")
        return told["master"], told["spark.driver.host"], told["spark.driver.bindAddress"]

    return go


def test_nobody_else_hears_it_by_default(asked):
    assert asked() == ("local[3]", "127.0.0.1", "127.0.0.1")


def test_variables_name_a_cluster_and_where_it_reaches_the_stage(asked):
    named = {MASTER: "spark://10.0.0.1:7077", ADDRESS: "10.0.0.2"}
    assert asked(**named) == ("spark://10.0.0.1:7077", "10.0.0.2", "10.0.0.2")
