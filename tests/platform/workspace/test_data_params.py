"""What is true of the data is said once, and a stage runs again for what it reads of it alone."""

from __future__ import annotations

import re

import pytest
import yaml

from tessera.contracts.errors import BadParams
from tessera.contracts.params import DATA, ROOT, DataParams, read_of_data, seeds_of
from tessera.platform.pipeline.dvc import render
from tessera.platform.workspace.catalogue import ALL_STAGES
from tessera.platform.workspace.code import SOURCE, import_closure
from tessera.platform.workspace.moved import FIXED, RENAMED
from tessera.platform.workspace.params import load_params, section_types
from tessera.platform.workspace.paths import open_workspace

OTHER = {
    "window_days": 3.0, "acquired": ["click"], "least_rating": 4.0, "future_items": True,
    "demand_days": 9.0,
}  # fmt: skip
"""Another value of each."""
BASES = {
    "synth": 7, "graph": 0, "sid": 0, "uplift": 7, "hstu": 0, "evaluate": 20240708, "ope": 7,
    "monitor": 7,
}  # fmt: skip
"""Seeds that every figure so far was measured with."""
STAGES = [stage for stage in ALL_STAGES if not stage.judges]


def _profile(root, said):
    (root / "profiles" / "mine.yaml").write_text(yaml.safe_dump(said))
    return open_workspace("mine", root)


def _changed(root, said):
    """Sections that are others with a profile that says this."""
    base = load_params(open_workspace("market", root))
    mine = load_params(_profile(root, said))
    return {name for name in base if base[name] != mine[name]}


def _followed(root, profile, file):
    """Return what dvc follows of a file of params, by stage."""
    pipeline = yaml.safe_load(render(open_workspace(profile, root)))["stages"]
    found = {}
    for name, stage in pipeline.items():
        if name == "snapshot":  # copies state, whatever the params
            continue
        params = stage.get("params", ())  # a stage without a section follows none
        told = [one if isinstance(one, dict) else {"params.yaml": [one]} for one in params]
        found[name] = {param for one in told for param in one.get(file, ())}
    return found


def test_every_key_has_another_value_here():
    assert set(OTHER) == set(DataParams.model_fields)


@pytest.mark.parametrize("key", OTHER)
def test_dvc_follows_a_key_of_data_where_it_changes_what_a_stage_gets(root, key):
    changed = _changed(root, {DATA: {key: OTHER[key]}}) - {DATA}
    assert changed, f"no stage reads data.{key}: cut it"
    followed = _followed(root, "market", "params.yaml")
    assert {stage.name for stage in STAGES if f"{DATA}.{key}" in followed[stage.name]} == {
        stage.name for stage in STAGES if stage.section in changed
    }
    assert f"{DATA}.{key}" in followed["ope"], "a verdict is about all that is behind it"
    assert all(DATA not in names for names in followed.values()), "the whole section runs all again"


def test_dvc_follows_what_a_profile_says_of_data_key_by_key(root):
    mine = _profile(root, {DATA: {"window_days": 3.0}, ROOT: 4, "graph": {"neighbours": 9}})
    followed = _followed(root, mine.profile, "profiles/mine.yaml")
    assert followed["uplift"] == {f"{DATA}.window_days", ROOT}
    assert followed["graph"] == {"graph", ROOT}
    assert followed["causal"] == set()


def test_of_another_stages_section_dvc_follows_what_a_stage_reads_alone(root):
    """An edit of the lists for strangers trains no baseline again."""
    params = set(_followed(root, "market", "params.yaml")["baselines"])
    followed = {param.removeprefix("hstu.") for param in params if param.startswith("hstu")}
    section = yaml.safe_load((root / "params.yaml").read_text())["hstu"]
    assert set(section) - followed == {"session_minutes"}
    assert followed <= set(section), "what stands nowhere always runs again"


def test_what_a_profile_says_of_another_stages_section_runs_its_readers_alone(root):
    mine = _profile(root, {"hstu": {"session_minutes": 30.0, "epochs": 3}})
    followed = _followed(root, mine.profile, "profiles/mine.yaml")
    assert followed["hstu"] == {"hstu"}
    assert followed["baselines"] == {"hstu.epochs"}


@pytest.mark.parametrize(("section", "key"), [
    (name, key) for name, kind in section_types().items()
    for key in (*read_of_data(kind), *seeds_of(kind))
])  # fmt: skip
def test_what_a_section_takes_from_elsewhere_its_code_uses(section, key):
    entry_points = [stage.entry_point for stage in ALL_STAGES if stage.section == section]
    files = {name for one in entry_points for name in import_closure(one)}
    code = "\n".join((SOURCE / name).read_text() for name in files)
    assert re.search(rf"params\.{key}\b", code)


def test_the_root_0_gives_the_seeds_that_were_always_there(root):
    params = load_params(open_workspace("market", root))
    assert {name: params[name].seed for name in BASES} == BASES
    assert {name for name, kind in section_types().items() if seeds_of(kind)} == set(BASES)


def test_another_root_changes_every_draw_and_nothing_else(root):
    params = load_params(_profile(root, {ROOT: 5}))
    assert {name: params[name].seed for name in BASES} == {
        name: base + 5 for name, base in BASES.items()
    }
    assert _changed(root, {ROOT: 5}) == set(BASES)
    followed = _followed(root, "market", "params.yaml")
    assert {stage.name for stage in STAGES if ROOT in followed[stage.name]} == {
        stage.name for stage in STAGES if stage.section in BASES
    }


OLD = {
    **{f"{name}.{key}": f"{DATA}.{key}" for name, kind in section_types().items()
       for key in read_of_data(kind)},
    **{f"{name}.seed": f"write {ROOT} at the top" for name in BASES},
    **{name: f"write {place} instead" for name, place in RENAMED.items()},
    **{name: f"is always {value} now: leave it out" for name, value in FIXED.items()},
}  # fmt: skip


@pytest.mark.parametrize("old", OLD)
def test_an_old_place_is_refused_in_one_line_that_names_the_new(root, old):
    section, param = old.split(".")
    with pytest.raises(BadParams, match=f"^params: {re.escape(old)} .*") as caught:
        load_params(_profile(root, {section: {param: 3}}))
    assert OLD[old] in str(caught.value)
    assert "\n" not in str(caught.value)
