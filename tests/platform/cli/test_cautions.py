"""What a person should know before believing the tables of a run."""

from __future__ import annotations

import pytest

from tessera.platform.cli.cautions import cautions
from tessera.platform.workspace import files


def ranked(ours=0.3, theirs=0.1, **facts):
    models = {"hstu": {"ndcg_10": ours}, "hstu_session": {"ndcg_10": 0.9},
              "ease": {"ndcg_10": theirs}, "random": {"ndcg_10": 0.0}}  # fmt: skip
    return {"users": 60, "models": models, "slices": {}, **facts}


def before(ours, theirs):
    models = {"hstu": {"ndcg_10": ours}, "ease": {"ndcg_10": theirs}}
    return {"slices": {"born_before_cut": {"users": 50, "models": models}}}


def test_a_sound_run_is_not_cautioned(workspace):
    assert cautions(workspace, ranked(**before(0.3, 0.15))) == []


@pytest.mark.parametrize(("without", "whom"), [(60, "anybody"), (7, "7 of 60 test investors")])
def test_lists_that_cannot_be_shown_are_told(workspace, without, whom):
    suited = {"nothing_suits": without, "unknown_item": 4, "unknown_user": 1}
    (told,) = cautions(workspace, ranked(suited=suited))
    assert told.startswith(f"nothing on sale suits {whom}, whatever the ranking says")
    assert "unknown items count as risk class 4, unknown investors as 1" in told


def test_a_lead_from_items_born_later_is_told(workspace):
    (told,) = cautions(workspace, ranked(**before(0.12, 0.1)))
    assert "hstu leads ease by 0.2000 nDCG@10, but only by 0.0200 (ease)" in told
    assert "born later" in told
    assert cautions(workspace, ranked(ours=0.05, **before(0.0, 0.1))) == [], "no lead, no caution"


def test_alarms_of_the_watch_are_repeated(workspace):
    alarms = [f"events.c{n} moved" for n in range(5)]
    files.write_json({"alarms": alarms}, workspace.artifact("watch") / "summary.json")
    told = cautions(workspace, ranked())
    assert told[:3] == [f"watch: {alarm}" for alarm in alarms[:3]]
    assert told[3] == "watch: 2 more alarms, see watch/index.html"
