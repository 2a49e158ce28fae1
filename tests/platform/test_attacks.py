"""Each way round the gate that somebody tried ends in one line, and nothing is published."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from tessera.bundles import manifest
from tessera.contracts.errors import (
    BrokenBundle,
    BrokenHistory,
    BrokenSeal,
    GateClosed,
    TesseraError,
)
from tessera.platform.cli import doctor, summary
from tessera.platform.pipeline.snapshot import snapshot
from tessera.platform.release import (
    acts,
    bundles,
    floors,
    journal,
    judged,
    looks,
    overrides,
    pointer,
    registry,
    revision,
    seals,
)
from tessera.platform.workspace import files
from tessera.platform.workspace.params import load_params
from tessera.platform.workspace.paths import Workspace, open_workspace

GIVEN = overrides.Override("nobody will look here", "somebody")


@pytest.fixture
def promoted(workspace, gate, made_once):
    """A candidate that the gate lets through, packed and not published yet."""
    made_once(lambda: gate.pack(workspace))
    return workspace


@pytest.fixture
def published(promoted, made_once):
    """The same, published as v1."""
    made_once(lambda: registry.publish(promoted, None, None))
    return promoted


def _edit(path, **facts):
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def _one_line(refused):
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_what_was_judged_is_published(published):
    assert pointer.current_bundle(published).name == "v1"
    assert "every hash matches" in doctor._published(published)


def test_a_model_trained_again_after_the_verdict_is_not_packed(promoted, gate):
    gate.write_run(promoted, seed=1)
    with pytest.raises(GateClosed, match="index: model is not what the verdict judged") as refused:
        gate.run(promoted, "index")
    assert "run `tessera run ope --profile market` to judge it" in str(refused.value)
    _one_line(refused)
    assert registry.publish(promoted, None, None).moved, "the bundle of before is as it was judged"
    weights = pointer.current_bundle(promoted) / "model" / "config.json"
    assert files.read_json(weights) == {"seed": 0}


@pytest.mark.parametrize(
    "name", ["facts", "codes", "codebook", "ledger_out", "item_vectors", "user_vectors", "edges",
             "events", "exposures", "outcomes", "scores", "champion", "split"],
)  # fmt: skip
def test_nothing_that_was_judged_can_be_swapped_before_it_is_packed(promoted, gate, name):
    path = promoted.artifact(name)
    path = next(iter(path.rglob("*")), path / "new.json") if path.is_dir() else path
    path.write_bytes(b"{}" if not path.exists() else path.read_bytes() + b" ")
    with pytest.raises(GateClosed, match=f"index: {name} is not what the verdict judged"):
        gate.run(promoted, "index")


def test_params_that_were_turned_since_are_named(promoted, gate):
    promoted.overrides.write_text("ope:\n  margin: 0.5\n")
    with pytest.raises(GateClosed, match="index: params ope is not what the verdict judged"):
        gate.run(promoted, "index")
    promoted.overrides.write_text("hstu:\n  epochs: 99\n")
    with pytest.raises(GateClosed, match="index: params hstu"):
        gate.run(promoted, "index")


def test_a_bundle_retrieves_by_the_params_that_the_verdict_knew(promoted, gate):
    promoted.overrides.write_text("index:\n  neighbours: 7\n")
    with pytest.raises(GateClosed, match="index: params index is not what the verdict judged"):
        gate.run(promoted, "index")


@pytest.mark.parametrize("name", ["ope", "index"])
def test_a_stage_whose_code_changed_since_is_named(promoted, gate, monkeypatch, name):
    real = judged.hash_code
    monkeypatch.setattr(
        judged, "hash_code", lambda stage: "f" * 64 if stage.name == name else real(stage)
    )
    with pytest.raises(GateClosed, match=f"index: code of {name} is not what the verdict judged"):
        gate.run(promoted, "index")


@pytest.mark.parametrize("is_folder", [False, True], ids=["a file", "a folder"])
def test_links_are_neither_judged_nor_packed_nor_read(promoted, gate, is_folder):
    """What a link leads to may be swapped for a moment, or lie in a folder that nobody hashes."""
    elsewhere = promoted.root / "elsewhere"
    (elsewhere / "inner").mkdir(parents=True)
    linked = elsewhere / "inner" if is_folder else elsewhere / "more.json"
    if not is_folder:
        linked.write_text("{}")
    for folder in (promoted.artifact("model"), promoted.artifact("bundle") / "model"):
        (folder / "more").symlink_to(linked)
    for act in (
        lambda: gate.run(promoted, "ope"),
        lambda: gate.run(promoted, "index"),
        lambda: registry.publish(promoted, None, None),
    ):
        with pytest.raises(BrokenBundle, match="model/more is a link.*put the file in its") as it:
            act()
        _one_line(it)


def test_a_verdict_that_was_edited_is_neither_packed_nor_published(workspace, gate):
    gate.decision = "HOLD"
    gate.run(workspace, "ope")
    _edit(workspace.artifact("verdict"), decision="PROMOTE", reason="it is fine")
    with pytest.raises(BrokenBundle, match="verdict.json is not as it was sealed") as refused:
        gate.run(workspace, "index")
    _one_line(refused)
    with pytest.raises(BrokenBundle, match="is not as it was sealed"):
        summary.show_verdict(workspace, Console(file=io.StringIO()))
    assert not workspace.artifact("bundle").exists()


def test_a_verdict_that_was_edited_in_the_bundle_is_refused_with_all_hashes_made_anew(
    workspace, gate
):
    gate.decision = "HOLD"
    gate.pack(workspace)
    bundle = workspace.artifact("bundle")
    _edit(bundle / "verdict.json", decision="PROMOTE", reason="it is fine")
    sealed = files.read_json(bundle / "manifest.json")
    facts = {k: v for k, v in sealed.items() if k not in ("files", "identity")}
    manifest.seal(bundle, facts)
    assert manifest.check(bundle), "the hashes are whole, only the seal is not"
    for act in (registry.publish, lambda workspace, *_: acts.promote(workspace, override=GIVEN)):
        with pytest.raises(BrokenBundle, match="manifest.json was changed after it was sealed"):
            act(workspace, None, None)
    assert pointer.current_version(workspace) is None


def test_a_bundle_that_no_run_packed_is_refused(promoted):
    """By calling the stage itself, say: it has no key."""
    bundle = promoted.artifact("bundle")
    (bundle / "model" / "config.json").write_text('{"seed": 1}')
    manifest.seal(bundle, {"kind": "model", "judged_against": "v0"})
    with pytest.raises(BrokenBundle, match="manifest.json carries no seal"):
        registry.publish(promoted, None, None)


FORGED = [
    {"decision": "PROMOTE"}, {"approver": "the chief risk officer"}, {"kind": "logging"},
    {"override_reason": "approved by the committee"}, {"version": "v7"}, {"judged_against": "v3"},
    {"published_at": "2020-01-01T00:00:00+00:00"}, {"profile": "other"},
]  # fmt: skip


@pytest.mark.parametrize("facts", FORGED, ids=lambda facts: next(iter(facts)))
def test_forged_facts_of_a_manifest_are_refused_by_every_reader(workspace, gate, facts):
    gate.decision = "HOLD"
    gate.pack(workspace)
    acts.promote(workspace, override=GIVEN)
    _edit(workspace.registry / "bundles" / "v1" / "manifest.json", **facts)
    readers = {
        "recommend": lambda: pointer.current_bundle(workspace),
        "verdict": lambda: summary.show_verdict(
            workspace, Console(file=io.StringIO()), version="v1"
        ),
        "page": lambda: summary.save_page(workspace, workspace.root / "page.html", "v1"),
        "json": lambda: acts.proposal(workspace, "v1"),
        "doctor": lambda: doctor._published(workspace),
        "snapshot": lambda: snapshot(workspace),
        "promote": lambda: acts.promote(workspace, "v1", GIVEN),
    }
    for reader in readers.values():
        with pytest.raises(BrokenBundle, match="manifest.json was changed after it was sealed"):
            reader()


def test_a_rollback_to_forged_facts_is_refused(published, gate):
    _edit(published.registry / "bundles" / "v0" / "manifest.json", kind="model")
    with pytest.raises(BrokenBundle, match="changed after it was sealed"):
        acts.rollback(published, None, "complaints of investors")
    assert pointer.current_version(published) == "v1"


def test_the_seal_of_another_verdict_does_not_fit(workspace, gate):
    gate.run(workspace, "ope")
    good = workspace.artifact("seal").read_bytes()
    gate.decision = "HOLD"
    gate.write_run(workspace, seed=1)
    gate.run(workspace, "ope")
    _edit(workspace.artifact("verdict"), decision="PROMOTE")
    workspace.artifact("seal").write_bytes(good)
    with pytest.raises(BrokenBundle, match="is not as it was sealed"):
        gate.run(workspace, "index")


def test_a_verdict_of_another_profile_does_not_fit(promoted, gate):
    (promoted.root / "profiles" / "other.yaml").write_text("")
    other = open_workspace("other", promoted.root)
    shutil.copytree(promoted.data, other.data)
    with pytest.raises(BrokenBundle, match="was given for profile market"):
        gate.run(other, "index")
    with pytest.raises(BrokenBundle, match="belongs to profile market"):
        registry.publish(other, None, None)


def test_a_bundle_of_another_registry_is_refused(promoted, tmp_path):
    other = Workspace(tmp_path / "elsewhere", "market")
    for name in ("profiles", "great_expectations"):
        shutil.copytree(promoted.root / name, other.root / name)
    shutil.copy(promoted.root / "params.yaml", other.root)
    shutil.copytree(promoted.data, other.data)
    with pytest.raises(BrokenBundle, match="sealed in another registry"):
        registry.publish(other, None, None)


def test_a_key_that_is_gone_or_replaced_lets_nothing_through(published):
    key = published.state / "seal.key"
    key.write_bytes(os.urandom(32))
    with pytest.raises(BrokenBundle, match="sealed in another registry"):
        pointer.current_bundle(published)
    with pytest.raises(BrokenSeal, match=r"does not belong to registry/seal\.pub"):
        acts.rollback(published, None, "complaints of investors")
    (published.state / "seal.pub").unlink()
    with pytest.raises(TesseraError, match="was not sealed in this registry"):
        acts.rollback(published, None, "complaints of investors")
    key.unlink()
    for reader in (
        pointer.current_bundle,
        lambda workspace: acts.rollback(workspace, None, "a reason"),
    ):
        with pytest.raises(BrokenSeal, match="seal.key is missing.*bring it back") as refused:
            reader(published)
        _one_line(refused)
    assert not key.exists(), "no new key is made over what the old one sealed"


def _readers_of_the_page(workspace):
    return {
        "verdict": lambda: summary.show_verdict(workspace, Console(file=io.StringIO())),
        "form": lambda: acts.proposal(workspace),
        "auditor": lambda: summary.check_signature(workspace),
        "publish": lambda: registry.publish(workspace, None, None),
        "promote": lambda: acts.promote(workspace),
    }


def test_a_page_that_was_edited_after_it_was_drawn_is_refused_by_every_reader(promoted, gate):
    page = promoted.artifact("verdict_page")
    page.write_text(page.read_text().replace("PROMOTE", "HOLD"))
    for reader in _readers_of_the_page(promoted).values():
        with pytest.raises(BrokenBundle, match=r"verdict\.html is not as it was sealed") as refused:
            reader()
        _one_line(refused)
    assert pointer.current_version(promoted) in (None, "v0")
    gate.run(promoted, "report")
    assert registry.publish(promoted, None, None).moved, "drawn again it is as it was"


def test_a_page_that_no_run_drew_is_refused(promoted):
    promoted.artifact("page_seal").unlink()
    readers = _readers_of_the_page(promoted)
    for name in ("verdict", "auditor"):
        with pytest.raises(BrokenBundle, match=r"verdict\.html carries no (seal|signature)"):
            readers[name]()
    assert acts.proposal(promoted)["page"] is None
    for name in ("publish", "promote"):
        with pytest.raises(GateClosed, match="has no page: run `tessera run --profile market`"):
            readers[name]()


def test_the_page_of_another_verdict_does_not_fit(promoted, gate):
    """Not even with its own seal, which is as good as ever."""
    names = ("verdict_page", "page_seal")
    kept = {name: promoted.artifact(name).read_bytes() for name in names}
    gate.decision = "HOLD"
    gate.write_run(promoted, seed=1)
    gate.pack(promoted)
    for name, content in kept.items():
        promoted.artifact(name).write_bytes(content)
    with pytest.raises(BrokenBundle, match=r"not as it was sealed: verdict\.json was changed"):
        summary.show_verdict(promoted, Console(file=io.StringIO()))
    assert acts.proposal(promoted)["page"] is None
    with pytest.raises(GateClosed, match="has no page"):
        acts.promote(promoted, override=GIVEN)


def test_no_page_of_a_former_verdict_lies_beside_a_new_one(promoted, gate):
    gate.run(promoted, "ope")
    assert promoted.artifact("verdict_page").exists(), "the same verdict again"
    gate.write_run(promoted, seed=1)
    gate.run(promoted, "ope")
    assert not promoted.artifact("verdict_page").exists()
    assert not promoted.artifact("page_seal").exists()


def test_no_page_is_drawn_of_a_verdict_that_was_edited(workspace, gate):
    gate.decision = "HOLD"
    gate.run(workspace, "ope")
    _edit(workspace.artifact("verdict"), decision="PROMOTE")
    with pytest.raises(BrokenBundle, match=r"verdict\.json is not as it was sealed"):
        gate.run(workspace, "report")
    assert not workspace.artifact("verdict_page").exists()


def test_a_page_drawn_again_is_no_look_no_other_verdict_and_no_other_bundle(published, gate):
    ledger = looks.looks_chain(published).lines()
    kept = {n: published.artifact(n).read_bytes() for n in ("verdict", "seal", "verdict_page")}
    gate.words = "in other words: "
    gate.run(published, "report")
    assert looks.looks_chain(published).lines() == ledger
    assert published.artifact("verdict_page").read_bytes() != kept.pop("verdict_page")
    assert {name: published.artifact(name).read_bytes() for name in kept} == kept
    assert "every hash matches" in doctor._published(published)
    done = registry.publish(published, None, None)
    assert (done.version, done.moved) == ("v1", False)


def test_the_page_that_was_published_stays_with_its_bundle(published, gate):
    bundle = published.registry / "bundles" / "v1"
    assert (bundle / "verdict.html").read_bytes() == published.artifact("verdict_page").read_bytes()
    assert {"verdict.html", "page_seal.json"} <= manifest.check(bundle)["files"].keys()
    for name in ("verdict.html", "page_seal.json"):
        kept = (bundle / name).read_bytes()
        for content in (b"<!doctype html>another", None):
            (bundle / name).unlink() if content is None else (bundle / name).write_bytes(content)
            with pytest.raises(BrokenBundle, match=f"{name} does not match the manifest"):
                pointer.current_bundle(published)
        (bundle / name).write_bytes(kept)


def test_a_verdict_that_was_sealed_with_its_page_can_still_be_read(promoted):
    """As it was before pages were drawn by a stage of their own."""
    paths = {promoted.artifact(name).name: promoted.artifact(name)
             for name in ("verdict", "verdict_page")}  # fmt: skip
    named = {name: files.sha256(path) for name, path in paths.items()}
    sealed = seals.seal(promoted, bundles.VERDICT, {"profile": "market", "files": named})
    files.write_json(sealed, promoted.artifact("seal"))
    promoted.artifact("page_seal").unlink()
    summary.show_verdict(promoted, Console(file=io.StringIO()))
    assert "are as signed by" in summary.check_signature(promoted)
    promoted.artifact("verdict_page").write_text("<!doctype html>another")
    with pytest.raises(BrokenBundle, match=r"verdict\.html was changed"):
        summary.show_verdict(promoted, Console(file=io.StringIO()))


def test_the_key_is_its_owners_alone(published):
    key = published.state / "seal.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_bytes()) == 32
    key.chmod(0o644)
    with pytest.raises(BrokenSeal, match="open to others than its owner: chmod 600"):
        pointer.current_bundle(published)


def test_two_first_runs_agree_on_one_key(workspace):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: seals.require_key(workspace), range(16)))
    assert seals.public_key(workspace) == seals._public(seals._key(workspace))
    assert sorted(path.name for path in workspace.state.iterdir()) == ["seal.key", "seal.pub"]


def test_an_auditor_checks_a_verdict_without_the_secret(published):
    (published.state / "seal.key").unlink()
    assert "are as signed by" in summary.check_signature(published)
    assert "are as signed by" in summary.check_signature(published, "v1")
    _edit(published.artifact("verdict"), decision="HOLD")
    with pytest.raises(BrokenBundle, match="is not as it was sealed"):
        summary.check_signature(published)
    seal = published.registry / "bundles" / "v1" / "seal.json"
    _edit(seal, git_revision="another")
    with pytest.raises(BrokenBundle, match="was not signed by this key"):
        summary.check_signature(published, "v1")


def test_a_history_written_anew_without_the_key_is_found_out(published):
    from tessera.platform.release.history import chain

    acts_of = chain(published)
    lines = acts_of.lines()
    forged = json.dumps({**json.loads(lines[-1]), "approver": "the chief risk officer"})
    acts_of.file.write_text("".join(line + "\n" for line in [*lines[:-1], forged]))
    digest = hashlib.sha256(forged.encode()).hexdigest()
    _edit(acts_of.head_file, sha256=digest)
    with pytest.raises(TesseraError, match="was not sealed in this registry"):
        acts.rollback(published, None, "complaints of investors")


def test_a_policy_that_was_not_judged_is_refused(promoted):
    bundle = promoted.artifact("bundle")
    _edit(bundle / "policy.json", temperature=0.9)
    sealed = files.read_json(bundle / "manifest.json")
    bundles.seal(promoted, bundle, {k: sealed[k] for k in ("kind", "judged_against")})
    with pytest.raises(BrokenBundle, match="policy.json is not the policy that was judged"):
        registry.publish(promoted, None, None)


def test_a_model_that_was_not_judged_is_refused_though_the_manifest_is_sealed(promoted):
    bundle = promoted.artifact("bundle")
    (bundle / "model" / "config.json").write_text('{"seed": 1}')
    sealed = files.read_json(bundle / "manifest.json")
    bundles.seal(promoted, bundle, {k: sealed[k] for k in ("kind", "judged_against")})
    with pytest.raises(BrokenBundle, match="bundle holds model .*its verdict judged"):
        registry.publish(promoted, None, None)


def _forged_line(workspace, **facts):
    """Lay out a line that fits the chain: it takes no key to write one."""
    from tessera.platform.release.history import chain

    return json.dumps({**json.loads(chain(workspace).next_line({})), **facts})


def test_an_act_that_nobody_began_is_not_completed(published, gate):
    """The next act does whatever stands in act.json, and seals it into the history."""
    gate.decision = "REJECT"
    gate.write_run(published, seed=1)
    gate.pack(published)
    bundle = published.artifact("bundle")
    named = {"version": "v2", "identity": files.read_json(bundle / "manifest.json")["identity"]}
    shutil.copytree(bundle, published.registry / "bundles" / ".v2.making")
    told = {"act": "publish", "from": "v1", "to": "v2", "identity": named["identity"]}
    intent = {"line": _forged_line(published, **told), "pointer": named}
    files.write_json(intent, published.registry / journal.INTENT)
    for act in (
        lambda: acts.rollback(published, None, "complaints of investors"),
        lambda: registry.publish(published, None, None),
        lambda: pointer.current_bundle(published),
    ):
        with pytest.raises(BrokenHistory, match="act.json of profile market carries no seal"):
            act()
    (published.registry / journal.INTENT).unlink()
    assert pointer.current_bundle(published).name == "v1"


def test_floors_that_nobody_moved_stay_where_they_are(published, gate):
    loose = {"act": "floors", "floors": {"margin": 1.0}, "approver": "the chief risk officer"}
    intent = {"line": _forged_line(published, **loose), "pointer": None}
    files.write_json(intent, published.registry / journal.INTENT)
    with pytest.raises(BrokenHistory, match="carries no seal"):
        acts.move_floors(published, ["max_z=3"], GIVEN)
    intent = seals.seal(published, "verdict", intent)
    files.write_json(intent, published.registry / journal.INTENT)
    with pytest.raises(BrokenHistory, match="was changed after it was sealed"):
        acts.rollback(published, None, "complaints of investors")


def test_an_act_that_was_done_is_not_done_again(published, gate, monkeypatch):
    kept = []
    monkeypatch.setattr(
        journal, "_forget",
        lambda workspace: kept.append((workspace.registry / journal.INTENT).read_bytes()),
    )  # fmt: skip
    acts.move_floors(published, ["max_z=3"], GIVEN)
    monkeypatch.undo()
    (published.registry / journal.INTENT).unlink()
    acts.move_floors(published, ["max_z=2"], GIVEN)
    (published.registry / journal.INTENT).write_bytes(kept[0])
    with pytest.raises(BrokenHistory, match="act.json is not what comes next"):
        acts.move_floors(published, ["max_z=1"], GIVEN)


@pytest.mark.parametrize("version", ["v0", "../../../data/market/bundle"])
def test_a_pointer_that_no_act_moved_is_followed_by_no_reader(published, gate, version):
    gate.decision = "REJECT"
    gate.write_run(published, seed=1)
    gate.pack(published)
    sealed = files.read_json(published.registry / "bundles" / version / "manifest.json")
    named = {"version": version, "identity": sealed["identity"]}
    files.write_json(named, published.registry / journal.POINTER)
    with pytest.raises(BrokenHistory, match="no act of profile market made .* current"):
        pointer.current_bundle(published)


def test_a_verdict_that_a_later_look_did_not_confirm_is_not_published(promoted, gate):
    kept = promoted.root / "kept"
    shutil.copytree(promoted.artifact("bundle"), kept)
    gate.decision = "REJECT"
    gate.write_log(promoted, range(900))
    gate.run(promoted, "ope")
    told = r"newest look at this candidate \(look 2\) says REJECT"
    with pytest.raises(GateClosed, match=told):
        registry.publish(promoted, None, None)
    gate.run(promoted, "index")
    files.remove(promoted.artifact("bundle"))
    shutil.copytree(kept, promoted.artifact("bundle"))
    with pytest.raises(GateClosed, match=told) as refused:
        acts.promote(promoted, override=GIVEN)
    _one_line(refused)
    assert pointer.current_version(promoted) == "v0"


def test_a_later_look_that_counts_for_another_candidate_overtakes_the_verdict_too(promoted, gate):
    gate.decision = "REJECT"
    pq.write_table(pa.table({"item_id": ["i2"], "user_id": ["u1"]}), promoted.artifact("scores"))
    assert gate.judge(promoted)["look"]["k"] == 2
    with pytest.raises(GateClosed, match=r"newest look at this candidate \(look 1\) says REJECT"):
        registry.publish(promoted, None, None)


def test_scores_that_were_written_anew_on_the_same_log_are_another_try(workspace, gate):
    """Scores grow with the log, so they are no part of the identity; on one log they count."""
    gate.decision = "HOLD"
    first = gate.judge(workspace)
    pq.write_table(pa.table({"item_id": ["i2"], "user_id": ["u1"]}), workspace.artifact("scores"))
    again = gate.judge(workspace)
    assert (first["look"]["k"], again["look"]["k"]) == (1, 2)
    assert again["candidate"] != first["candidate"]
    assert gate.judge(workspace)["look"]["k"] == 2, "the same bytes again are the same look"
    assert len(looks.looks_chain(workspace).entries()) == 2


def test_a_floor_that_moved_since_the_verdict_shuts_the_gate(promoted, gate):
    gate.run(promoted, "ope")
    verdict = {"decision": "PROMOTE", "params": load_params(promoted)["ope"].model_dump()}
    registry.publish(promoted, None, None, approval=True)  # it waits for a person
    floors.move(promoted, {"max_z": 1.0}, "no more doubtful joins", "A. Rossi")
    candidate = replace(registry.read_candidate(promoted), verdict=verdict)
    with pytest.raises(
        GateClosed, match=r"ope\.max_z 3\.3 is looser than the floor 1, which moved"
    ):
        registry.require_fresh(promoted, candidate)


@pytest.mark.parametrize("kept", [0, 1], ids=["deleted", "set back"])
def test_a_ledger_without_what_the_last_act_saw_in_it_is_refused(promoted, gate, kept):
    ledger = looks.looks_chain(promoted)
    files_then = {path: path.read_bytes() for path in (ledger.file, ledger.head_file)}
    gate.write_run(promoted, seed=1)
    gate.pack(promoted)
    registry.publish(promoted, None, None)
    for path, then in files_then.items():
        path.write_bytes(then) if kept else path.unlink()
    with pytest.raises(
        BrokenHistory, match="the last act of profile market saw another"
    ) as refused:
        gate.run(promoted, "ope")
    _one_line(refused)


def test_the_revision_says_when_a_profile_was_never_committed(root):
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    commands = (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "start"])
    for words in commands:
        subprocess.run(["git", *words], cwd=root, check=True)
    clean = revision.git_revision(root)
    assert not clean.endswith("-dirty")
    (root / "notes.txt").write_text("of no account")
    assert revision.git_revision(root) == clean
    (root / "profiles" / "sneaky.yaml").write_text("ope:\n  margin: 1.0\n")
    assert revision.git_revision(root) == f"{clean}-dirty"


def test_the_refusal_is_one_line_and_exit_code_two(promoted, gate):
    gate.write_run(promoted, seed=1)
    words = [str(Path(sys.executable).with_name("tessera")), "run", "index"]
    done = subprocess.run(
        words, env={**os.environ, "TESSERA_ROOT": str(promoted.root)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip().startswith("error: index: model is not what the verdict judged")
    assert len(done.stderr.strip().splitlines()) == 1
