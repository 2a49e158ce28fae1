"""Ledger of looks and key of the seal, whatever became of them: older, gone, newer, broken.

An act goes on with a warning, or is refused in one line that says what to do; nothing that was
lost is made good by acting, nor by a repair.
"""

from __future__ import annotations

import secrets

import pytest

from tessera.contracts.errors import BrokenHistory, BrokenSeal, TesseraError
from tessera.platform.cli import doctor, repair, summary
from tessera.platform.release import acts, registry, seals
from tessera.platform.release.history import history, looks_chain
from tessera.platform.release.overrides import Override
from tessera.platform.workspace import files

pytestmark = pytest.mark.usefixtures("new_stores_are_copies")
WHY = "the ledger was lost last night"
BECAUSE = Override(WHY, "Ada Lovelace")


@pytest.fixture
def two(workspace, gate, make_candidate, made_once):
    """Two looks, each before an act, so that v1 and then v2 are published; then a third look."""

    def make():
        for number in (1, 2):
            gate.judge(workspace)
            make_candidate(workspace, judged_against=f"v{number - 1}", weight=float(number))
            registry.publish(workspace, None, None)
            gate.write_run(workspace, seed=number)
        gate.judge(workspace)

    made_once(make)
    return workspace


def _keep(workspace, lines):
    """Bring back a ledger of the first lines, with the head that it had then."""
    ledger = looks_chain(workspace)
    kept = ledger.lines()[:lines]
    ledger.file.write_text("".join(f"{line}\n" for line in kept))
    ledger.write_head(kept[-1])


def _lose(workspace):
    ledger = looks_chain(workspace)
    ledger.file.unlink()
    ledger.head_file.unlink()


LEDGERS = {
    "older": lambda workspace: _keep(workspace, 1),
    "gone": _lose,
    "torn": lambda workspace: looks_chain(workspace).file.write_text("{"),
    "its head torn": lambda workspace: looks_chain(workspace).head_file.write_text('{"entr'),
    "its head gone": lambda workspace: looks_chain(workspace).head_file.unlink(),
}


def _sees(workspace):
    return history(workspace)[-1]["looks"]


@pytest.mark.parametrize("became", LEDGERS)
def test_without_its_ledger_nothing_is_judged_or_promoted(two, gate, make_candidate, became):
    LEDGERS[became](two)
    for act in (lambda: gate.judge(two), lambda: doctor._looks(two)):
        with pytest.raises(BrokenHistory, match=r"ledger.* bring registry/looks\.jsonl") as told:
            act()
        assert "\n" not in str(told.value)
    make_candidate(two, judged_against="v2", weight=3.0)
    for publish in (lambda: registry.publish(two, None, None), lambda: acts.promote(two)):
        with pytest.raises(BrokenHistory, match=r"ledger.* bring registry/looks\.jsonl"):
            publish()
    assert registry.current_version(two) == "v2"


@pytest.mark.parametrize("became", LEDGERS)
@pytest.mark.parametrize("act", ["rollback", "override"])
def test_an_act_that_does_not_lean_on_it_goes_on_and_makes_no_loss_good(
    two, gate, make_candidate, capsys, act, became
):
    before = _sees(two)
    LEDGERS[became](two)
    if act == "rollback":
        assert acts.rollback(two, None, WHY).version == "v1"
    else:
        make_candidate(two, "HOLD", judged_against="v2", weight=3.0)
        assert acts.promote(two, override=BECAUSE).version == "v3"
    told = capsys.readouterr().err
    assert told.startswith("warning: the ledger of looks is broken"), told
    assert "bring registry/looks.jsonl and its head back" in told
    assert told.count("\n") == 1
    assert _sees(two) == before
    with pytest.raises(BrokenHistory, match="nothing can be judged"):
        gate.judge(two)


def test_a_ledger_that_is_newer_than_the_acts_goes_on(two, gate, capsys):
    assert _sees(two)["entries"] == 2
    assert acts.rollback(two, None, WHY).version == "v1"
    assert capsys.readouterr().err == ""
    assert _sees(two)["entries"] == 3
    assert gate.judge(two)["look"]["k"] == 3, "the same bytes are the same look"


def test_a_ledger_older_by_what_no_act_saw_cannot_be_told_from_a_whole_one(two, gate):
    _keep(two, 2)
    assert gate.judge(two)["look"]["k"] == 3


@pytest.mark.parametrize("became", LEDGERS)
def test_a_repair_leaves_the_ledger_to_a_person(two, became):
    LEDGERS[became](two)
    before = {path.name: path.read_bytes() for path in two.state.glob("looks*")}
    assert not [line for line in repair.repair(two) if "looks" in line]
    assert {path.name: path.read_bytes() for path in two.state.glob("looks*")} == before


def _another_key(workspace):
    (workspace.state / seals.KEY).write_bytes(secrets.token_bytes(32))


KEYS = {
    "gone": (
        lambda workspace: (workspace.state / seals.KEY).unlink(),
        "is missing or cannot be read",
    ),
    "another": (_another_key, "does not belong to registry/seal.pub"),
    "torn": (
        lambda workspace: (workspace.state / seals.KEY).write_bytes(b"x"),
        "is not a key of 32 bytes",
    ),
    "open": (lambda workspace: (workspace.state / seals.KEY).chmod(0o644), "chmod 600 it"),
}


@pytest.mark.parametrize("became", KEYS)
def test_without_its_key_every_act_is_refused_in_one_line(two, gate, make_candidate, became):
    make_candidate(two, judged_against="v2", weight=3.0)
    break_it, says = KEYS[became]
    break_it(two)
    before = {path: path.read_bytes() for path in two.state.rglob("*.json*")}
    tries = {
        "judge": lambda: gate.judge(two),
        "publish": lambda: registry.publish(two, None, None),
        "promote": lambda: acts.promote(two),
        "override": lambda: acts.promote(two, override=BECAUSE),
        "hold": lambda: acts.hold(two, WHY),
        "roll back": lambda: acts.rollback(two, None, WHY),
    }
    for name, act in tries.items():
        with pytest.raises(BrokenSeal, match=says) as told:
            act()
        assert "\n" not in str(told.value), name
    assert {path: path.read_bytes() for path in two.state.rglob("*.json*")} == before
    with pytest.raises(TesseraError, match=rf"{says}.*verdict --check") as told:
        doctor._key(two)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("became", KEYS)
def test_a_repair_makes_no_key_up_and_the_signature_can_still_be_checked(two, became):
    KEYS[became][0](two)
    path = two.state / seals.KEY
    before = path.read_bytes() if path.exists() else None
    assert not [line for line in repair.repair(two) if "seal" in line]
    assert (path.read_bytes() if path.exists() else None) == before
    assert "as signed by" in summary.check_signature(two, "v2")


@pytest.mark.parametrize("content", [None, "", "zz", "ab"], ids=["gone", "empty", "torn", "short"])
def test_the_public_key_follows_from_the_secret_one(two, gate, content):
    path = two.state / seals.PUBLIC
    told = path.read_bytes()
    files.remove(path)
    if content is not None:
        path.write_text(content)
    gate.judge(two)  # it is for auditors: no act needs it
    with pytest.raises(TesseraError, match=r"seal\.pub is missing or damaged: --repair"):
        doctor._key(two)
    assert repair.repair(two)[-1:] == ["registry/seal.pub is told again by registry/seal.key"]
    assert path.read_bytes() == told
    assert doctor._key(two).startswith("readable by its owner alone")


def test_no_public_key_is_told_by_a_key_that_opens_nothing(two):
    _another_key(two)
    files.remove(two.state / seals.PUBLIC)
    repair.repair(two)
    assert not (two.state / seals.PUBLIC).exists()


def test_before_the_first_act_there_is_nothing_to_miss(workspace):
    assert doctor._key(workspace) == "none yet: the first run makes it"
    assert repair._public_key(workspace) == []
