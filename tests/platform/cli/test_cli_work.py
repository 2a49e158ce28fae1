"""What people run: what is asked is heard, or refused in one line."""

from __future__ import annotations

import pytest

from tessera.platform.workspace.paths import open_workspace


@pytest.fixture
def ran(monkeypatch):
    """Stages that were asked for, instead of running them."""
    seen = []
    monkeypatch.setattr(
        "tessera.platform.pipeline.runner.run_stage",
        lambda stage, workspace, params: seen.append(stage.name),
    )
    return seen


def test_a_stage_that_reads_the_folder_hears_of_it(say, ran, root, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    code, _, err = say("run", "ingest", "--profile", "far-trans", "--data", str(folder))
    assert (code, err, ran) == (0, "", ["ingest"])
    assert open_workspace("far-trans", root).artifact("source").resolve() == folder


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("graph", "--data", "/tmp"), "graph does not read --data: give it to ingest"),
        (("graph", "--cut", "2024-01-01"), "graph does not read --cut: give it to ingest"),
        (("graph", "--force"), "--force goes with a whole run: leave out the name of the stage"),
        (("graph", "--from-stage", "sid"), "--from-stage goes with a whole run"),
        (("graph", "--override-reason", "reviewed by all"), "--override-reason goes with a whole"),
        (("ingest", "--data", "/no/such/folder"), "no folder /no/such/folder"),
        (("ingest", "--cut", "yesterday"), "cut 'yesterday' is not a date"),
    ],
)
def test_an_option_that_a_stage_would_leave_unheard_is_refused(say, ran, words, says):
    code, _, err = say("run", *words, "--profile", "far-trans")
    assert code == 2
    assert says in err
    assert err.count("\n") == 1
    assert ran == []
