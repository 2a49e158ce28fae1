"""The rooms of the library: few, without circles, and an edit re-runs what it must and no more."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import networkx
import pytest
import yaml

from tessera.contracts.artifacts import ARTIFACTS
from tessera.platform.pipeline.dvc import render
from tessera.platform.workspace.catalogue import ALL_STAGES
from tessera.platform.workspace.code import import_closure
from tessera.platform.workspace.paths import open_workspace

SKELETON = '"""A package that no floor names."""\n'


@pytest.fixture(scope="module")
def package():
    return Path(__file__).resolve().parents[2] / "src" / "tessera"


def test_a_newcomer_reads_at_most_eight_words_at_the_top(package):
    rooms = [path.parent.name for path in package.glob("*/__init__.py")]
    assert 5 <= len(rooms) <= 8


def imports_of(package: Path) -> networkx.DiGraph:
    """Every import, those inside functions and those for types alone included."""
    names = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        names[".".join(parts).removesuffix(".__init__")] = path
    graph = networkx.DiGraph()
    for name, path in names.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                found = [f"{node.module}.{alias.name}" for alias in node.names]
                found = [one if one in names else node.module for one in found]
            elif isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            else:
                continue
            graph.add_edges_from((name, one) for one in found if one in names and one != name)
    return graph


def test_no_module_imports_itself_by_a_detour(package):
    circles = [c for c in networkx.strongly_connected_components(imports_of(package)) if len(c) > 1]
    assert circles == []


def test_a_late_import_and_one_for_types_close_a_circle(tmp_path):
    root = tmp_path / "tessera"
    root.mkdir()
    (root / "one.py").write_text("def f():\n    from tessera.two import x\n")
    (root / "two.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tessera.one import f\n"
    )
    circles = networkx.strongly_connected_components(imports_of(root))
    assert {"tessera.one", "tessera.two"} in list(circles)


@pytest.mark.parametrize("room", ["", "stages", "shared", "model", "platform"])
def test_a_package_that_no_floor_names_fails_the_lint(room, package, tmp_path):
    shutil.copytree(package, tmp_path / "src" / "tessera")
    shutil.copy(package.parents[1] / "pyproject.toml", tmp_path)
    new = tmp_path / "src" / "tessera" / room / "toy"
    new.mkdir()
    (new / "__init__.py").write_text(SKELETON)
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "src")}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode
    assert "toy" in done.stdout


def run_again(edited: str) -> set[str]:
    """Stages that DVC runs because of an edit itself, not because what it reads came out else."""
    stages = yaml.safe_load(render(open_workspace("market")))["stages"]
    return {
        name
        for name, stage in stages.items()
        for dep in stage.get("deps", ())
        if edited == dep or edited.startswith(f"{dep}/")
    }


def test_an_edit_of_a_baseline_trains_the_baselines_alone():
    for name in ("two_tower", "rankers", "ranker_baselines"):
        assert run_again(f"src/tessera/model/baselines/{name}.py") == {"baselines"}


def reached(edited: str) -> set[str]:
    """The same, and every stage that reads what these write, directly or not."""
    stages = yaml.safe_load(render(open_workspace("market")))["stages"]
    found, before = run_again(edited), set()
    while found != before:
        before = found
        written = {out for name in found for out in stages[name]["outs"]}
        found = found | {name for name, one in stages.items() if written & {*one.get("deps", ())}}
    return found


@pytest.mark.parametrize(
    ("stage", "files"),
    [("report", ("words.py", "hints.py", "pictures.py", "page.py", "templates/verdict.html")),
     ("monitor", ("page.py", "report.py"))],
)  # fmt: skip
def test_an_edit_of_the_words_of_a_page_makes_that_page_again_and_nothing_else(
    stage, files, repository
):
    for name in files:
        edited = f"src/tessera/stages/{stage}/{name}"
        assert (repository / edited).exists()
        assert reached(edited) == {stage}


def test_an_edit_of_the_gate_judges_again_and_draws_and_packs_what_was_judged():
    assert reached("src/tessera/stages/ope/judge.py") == {"ope", "report", "index"}


def test_an_edit_of_the_trunk_trains_it_and_what_shares_its_layers():
    assert run_again("src/tessera/model/trunk/model.py") == {"hstu", "baselines"}


def test_an_edit_of_the_trainer_trains_all_and_one_of_a_layer_quantizes_nothing():
    assert run_again("src/tessera/model/trainer/loop.py") == {"sid", "hstu", "baselines"}
    assert run_again("src/tessera/model/nn/layer.py") == {"hstu", "baselines"}


def test_an_edit_of_the_platform_or_of_serving_runs_no_stage():
    for name in ("platform/release/acts.py", "platform/cli/summary.py", "serve/recommend.py"):
        assert run_again(f"src/tessera/{name}") == set()


def test_the_trunk_reads_nothing_that_a_baseline_wrote():
    stages = yaml.safe_load(render(open_workspace("market")))["stages"]
    written = {f"data/market/{ARTIFACTS[name].filename}" for name in ("baseline_lists",)}
    assert not written & set(stages["hstu"]["deps"])


def test_a_line_of_the_register_runs_no_stage_again(repository):
    """It stands in a folder that every stage depends on; no stage imports it."""
    register = "src/tessera/contracts/systems.py"
    assert (repository / register).exists()
    assert register in (repository / ".dvcignore").read_text().splitlines()
    for stage in ALL_STAGES:
        assert register.removeprefix("src/") not in import_closure(stage.entry_point)
