"""Every candidate that was weighed on a log counts for ever, whoever weighed it and how."""

from __future__ import annotations

import json
import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pyarrow.parquet as pq
import pytest

from tessera.contracts.errors import BrokenHistory, BrokenSeal
from tessera.platform.release import looks
from tessera.platform.release.chain import Chain
from tessera.platform.release.history import looks_chain
from tessera.platform.release.served_log import read_log
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace, open_workspace


def _profile(workspace, name, text=""):
    (workspace.root / "profiles" / f"{name}.yaml").write_text(text)
    return open_workspace(name, workspace.root)


def test_sixty_seeds_on_one_log_are_sixty_candidates_whatever_becomes_of_data(workspace, gate):
    told = []
    for seed in range(60):
        if seed % 20 == 19:
            shutil.rmtree(workspace.data)
            gate.write_log(workspace)
        gate.write_run(workspace, seed)
        told.append(gate.judge(workspace)["look"])
    assert [one["k"] for one in told] == list(range(1, 61))
    assert {one["look"] for one in told} == {1}
    assert told[59]["share"] == pytest.approx(0.05 * 6 / (math.pi**2 * 3600))
    assert told[59]["spent"] == pytest.approx(sum(one["share"] for one in told))
    assert told[59]["spent"] < 0.05


def test_a_new_profile_goes_on_where_the_log_was_left(workspace, gate):
    assert gate.judge(workspace)["look"]["k"] == 1
    other = _profile(workspace, "fresh-start")
    gate.write_log(other)
    gate.write_run(other, seed=1)
    assert gate.judge(other)["look"]["k"] == 2
    assert [entry["profile"] for entry in looks_chain(workspace).entries()] == [
        "market",
        "fresh-start",
    ]


def test_another_cut_is_another_try(workspace, gate):
    gate.judge(workspace)
    gate.write_run(workspace, cut=gate.START + timedelta(minutes=50))
    assert gate.judge(workspace)["look"]["k"] == 2


@pytest.mark.parametrize(
    "requests", [range(900), range(350, 400), range(7, 400, 3)], ids=["grown", "its end", "a third"]
)
def test_what_shares_requests_is_one_stream(workspace, gate, requests):
    first = gate.judge(workspace)["look"]
    gate.write_log(workspace, requests)
    gate.write_run(workspace, seed=1)
    look = gate.judge(workspace)["look"]
    assert (look["k"], look["stream"]) == (2, first["stream"])


def test_a_hundredth_of_a_long_log_is_known_again_and_so_is_a_log_a_hundred_times_as_long(
    workspace, gate
):
    gate.write_log(workspace, range(40_000))
    gate.judge(workspace)
    gate.write_log(workspace, range(17, 40_000, 100))
    gate.write_run(workspace, seed=1)
    assert gate.judge(workspace)["look"]["k"] == 2
    gate.write_log(workspace, range(39_000, 79_000))
    gate.write_run(workspace, seed=2)
    assert gate.judge(workspace)["look"]["k"] == 3


def test_a_log_that_joins_two_streams_counts_what_was_weighed_on_both(workspace, gate):
    for number, requests in enumerate((range(200), range(300, 500))):
        gate.write_log(workspace, requests)
        gate.write_run(workspace, seed=number)
        assert gate.judge(workspace)["look"]["k"] == 1
    gate.write_log(workspace, range(500))
    gate.write_run(workspace, seed=2)
    look = gate.judge(workspace)["look"]
    assert look["k"] == 3
    first, third = (0.05 * 6 / (math.pi**2 * k**2) for k in (1, 3))
    assert look["share"] == pytest.approx(third), "what is spent from now on is of one alpha"
    assert look["spent"] == pytest.approx(2 * first + third), "what was spent apart stays said"
    gate.write_log(workspace, range(200))
    gate.write_run(workspace, seed=3)
    assert gate.judge(workspace)["look"]["k"] == 4, "the streams stay joined"


def test_other_requests_are_another_stream_with_an_error_rate_of_its_own(workspace, gate):
    gate.judge(workspace)
    gate.write_log(workspace, world=1)
    gate.write_run(workspace, seed=1)
    assert gate.judge(workspace)["look"]["k"] == 1


def test_the_same_bytes_again_are_the_same_look_and_spend_nothing(workspace, gate):
    first = gate.judge(workspace)
    gate.write_run(workspace, seed=1)
    gate.judge(workspace)
    gate.write_run(workspace)
    assert gate.judge(workspace) == first
    assert len(looks_chain(workspace).entries()) == 2


def test_the_same_candidate_on_a_longer_log_is_another_look(workspace, gate):
    gate.judge(workspace)
    gate.write_log(workspace, range(500))
    look = gate.judge(workspace)["look"]
    assert (look["k"], look["look"]) == (1, 2)
    gate.write_log(workspace)
    assert gate.judge(workspace)["look"]["look"] == 1


SHORT = "data:\n  window_days: 0.01\n"
"""An attribution window of 14.4 minutes, so that nearly all requests have their answers."""


def test_answers_that_came_late_for_requests_already_judged_make_another_candidate(workspace, gate):
    """The scores of old requests change, and what the reward model learnt from may."""
    workspace.overrides.write_text(SHORT)
    gate.judge(workspace)
    gate.write_log(workspace, range(500), late=[3])
    assert [gate.judge(workspace)["look"][name] for name in ("k", "look")] == [2, 1]
    gate.write_log(workspace, range(600), late=[3])
    assert [gate.judge(workspace)["look"][name] for name in ("k", "look")] == [2, 2], (
        "as it was then"
    )
    gate.write_log(workspace, range(700), late=[3, 8])
    assert [gate.judge(workspace)["look"][name] for name in ("k", "look")] == [3, 1]


def test_answers_to_requests_that_were_not_judged_yet_are_no_other_try(workspace, gate):
    workspace.overrides.write_text(SHORT)
    gate.judge(workspace)
    gate.write_log(workspace, range(500), late=[399])
    assert [gate.judge(workspace)["look"][name] for name in ("k", "look")] == [1, 2]


def test_a_part_that_was_picked_of_the_log_is_another_try(workspace, gate):
    workspace.overrides.write_text(SHORT)
    gate.judge(workspace)
    gate.write_log(workspace, range(0, 400, 2))
    assert gate.judge(workspace)["look"]["k"] == 2, "half of the requests"
    gate.write_log(workspace, range(300))
    assert gate.judge(workspace)["look"]["k"] == 3, "the requests until some earlier day"


def test_a_promotion_starts_no_new_count(workspace, gate):
    gate.judge(workspace)
    champion = workspace.artifact("champion")
    gate.write_run(workspace)
    files.write_json({"version": "v1", "kind": "model"}, champion / "champion.json")
    (champion / "model").mkdir()
    (champion / "model" / "config.json").write_text('{"seed": 9}')
    assert gate.judge(workspace)["look"]["k"] == 2, "the rows are the same, the champion is another"


def test_a_verdict_that_shows_no_estimates_is_not_counted(workspace, gate):
    workspace.overrides.write_text("ope:\n  margin: 1.0\n")
    assert gate.judge(workspace)["decision"] == "INVALID"
    assert looks_chain(workspace).entries() == []
    workspace.overrides.write_text("")
    gate.decision = "INVALID"  # by a check beside estimates that a person could choose by
    gate.judge(workspace)
    assert [entry["decision"] for entry in looks_chain(workspace).entries()] == ["INVALID"]


def test_the_look_is_written_down_before_anybody_can_see_the_verdict(workspace, gate, monkeypatch):
    gate.judge(workspace)
    before = files.sha256(workspace.artifact("verdict"))
    gate.write_run(workspace, seed=1)

    def full(*_):
        raise OSError(28, "no space")

    monkeypatch.setattr(Chain, "append", full)
    with pytest.raises(Exception, match="no space"):
        gate.judge(workspace)
    assert files.sha256(workspace.artifact("verdict")) == before


def test_a_copy_of_an_experiment_counts_where_it_was_made(workspace, gate):
    """`dvc exp run --temp` and `--queue` work in copies of the repository without its registry."""
    gate.judge(workspace)
    root = workspace.root / ".dvc" / "tmp" / "exps" / "standalone" / "tmp1"
    root.mkdir(parents=True)
    for name in ("profiles", "great_expectations"):
        shutil.copytree(workspace.root / name, root / name)
    shutil.copy(workspace.root / "params.yaml", root)
    copy = Workspace(root, workspace.profile)
    gate.write_log(copy)
    gate.write_run(copy, seed=1)
    assert gate.judge(copy)["look"]["k"] == 2
    assert not (root / "registry").exists()


def test_two_that_judge_at_the_same_time_take_two_places(workspace, gate):
    other = _profile(workspace, "other")
    gate.write_log(other)
    gate.write_run(other, seed=1)
    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(lambda one: gate.judge(one)["look"]["k"], (workspace, other)))
    assert sorted(told) == [1, 2]


def test_a_stream_keeps_the_error_rate_it_began_with(workspace, gate):
    workspace.overrides.write_text("ope:\n  alpha: 0.01\n")
    assert gate.judge(workspace)["look"]["alpha"] == 0.01
    other = _profile(workspace, "other")
    gate.write_log(other)
    gate.write_run(other, seed=1)
    assert gate.judge(other)["look"]["alpha"] == 0.01


def test_a_run_that_asks_for_less_does_not_change_the_stream(workspace, gate):
    gate.judge(workspace)
    workspace.overrides.write_text("ope:\n  alpha: 0.01\n")
    assert gate.judge(workspace)["look"]["alpha"] == 0.05


@pytest.mark.parametrize("what", ["changed", "cut off", "gone", "its head too"])
def test_a_ledger_that_somebody_else_wrote_lets_nothing_be_judged(workspace, gate, what):
    gate.judge(workspace)
    gate.write_run(workspace, seed=1)
    gate.judge(workspace)
    ledger = looks_chain(workspace)
    lines = ledger.lines()
    if what == "changed":
        lines[0] = json.dumps({**json.loads(lines[0]), "candidate": "nobody"})
    kept = {"cut off": lines[:1], "gone": []}.get(what, lines)
    ledger.file.write_text("".join(line + "\n" for line in kept))
    if what == "its head too":
        ledger.file.write_text(lines[0] + "\n")
        head = {"entries": 1, "sha256": json.loads(lines[1])["previous"], "mac": "0" * 64}
        ledger.head_file.write_text(json.dumps(head))
    with pytest.raises(BrokenHistory, match="the ledger of looks is broken at"):
        gate.judge(workspace)


def test_without_its_key_a_registry_counts_no_further(workspace, gate):
    gate.judge(workspace)
    (workspace.state / "seal.key").unlink()
    with pytest.raises(BrokenSeal, match="seal.key is missing"):
        gate.judge(workspace)


def test_a_source_that_logged_nothing_is_no_stream(workspace, gate):
    exposures = workspace.artifact("exposures")
    pq.write_table(pq.read_table(exposures).slice(0, 0), exposures)
    log = read_log(exposures, workspace.artifact("outcomes"), 7.0)
    assert (log.sketch, log.facts["rows"], log.answered_us) == ((), 0, None)
    assert looks.stand(workspace, log, "nobody", 0.05).told["k"] == 1
