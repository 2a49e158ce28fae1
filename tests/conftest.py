"""Fixtures that every test may use; heavy ones are built once a session."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.contracts.split import Split, save_split
from tessera.platform.release import bundles, seals
from tessera.platform.release.judged import PACKED
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import open_workspace
from tessera.shared.policies.serving import FILE as POLICY
from tessera.shared.policies.serving import ServingPolicy, write_policy
from tessera.shared.policies.slate import SlatePolicy

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
CALM = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr",
    "--virtual-time-budget=5000",
)


gc.disable()  # until all is collected: what is imported stays

LONGEST = (
    "e2e/test_default_market.py",
    "e2e/test_airflow.py",
    "e2e/test_backfill.py",
    "e2e/test_main_job.py",
    "e2e/",
    "airflow/",
)
"""Files of minutes, the longest first; the others follow in the order of their names."""


def pytest_collection_modifyitems(items):
    """Begin with what takes longest: processes are handed files in this order, and end together."""
    here = Path(__file__).parent

    def rank(item):
        name = item.path.relative_to(here).as_posix()
        return next((i for i, one in enumerate(LONGEST) if name.startswith(one)), len(LONGEST))

    items.sort(key=rank)
    # Libraries and items live as long as the process: no search for garbage looks at them again.
    gc.enable()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _no_wait_for_the_disk():
    """Let writes of this process be done once the system has them: no test cuts the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _handle: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_mlflow_of_others():
    """Tell nothing to an MLflow that whoever runs the tests has named."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield


@pytest.fixture
def chromium(tmp_path):
    """Run a real browser, headless and offline, with these words; skip where there is none."""
    if BROWSER is None:
        pytest.skip("needs chromium, google-chrome or chrome on the path")

    def run(*words):
        mine = f"--user-data-dir={tmp_path / 'browser'}"
        return subprocess.run(
            [BROWSER, *CALM, mine, *words], capture_output=True, text=True, timeout=120, check=True
        )

    return run


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def z_score():
    """Return how many standard errors the mean of a sample lies from what is expected."""

    def of(sample_N, expected):
        return (sample_N.mean() - expected) / (sample_N.std() / np.sqrt(len(sample_N)))

    return of


@pytest.fixture(scope="session")
def official():
    """Folder that holds the official files of every source, one sub-folder each."""
    named = os.environ.get("TESSERA_DATA")
    if not named:
        pytest.skip("TESSERA_DATA names no folder with official files")
    folder = Path(named)
    assert folder.is_dir(), f"TESSERA_DATA names {folder}, which is no folder"
    return folder


@pytest.fixture(scope="session")
def repository():
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def configuration(repository):
    """Committed configuration, file for file; written anew it costs a third of a copied folder."""
    folders = ("profiles", "great_expectations", "monitoring")
    paths = [repository / "params.yaml", *(p for f in folders for p in (repository / f).rglob("*"))]
    return {p.relative_to(repository): p.read_bytes() for p in paths if p.is_file()}


@pytest.fixture
def root(tmp_path, configuration):
    """Committed configuration alone: params, profiles, suites."""
    folder = tmp_path / "repository"
    for parent in {name.parent for name in configuration}:
        (folder / parent).mkdir(parents=True, exist_ok=True)
    for name, content in configuration.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def workspace(root):
    return open_workspace("market", root)


def _parquet(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)


def judge_planted(workspace, folder, verdict):
    """Write a verdict about what lies in a bundle, its seal and, beside the run, its page."""
    about = {name: files.sha256(folder / packed) for name, packed in PACKED.items()}
    policy = json.loads((folder / POLICY).read_text())
    told = {**verdict, "policy": policy, "judged": {"artifacts": about}}
    (folder / "verdict.json").write_text(json.dumps(told))
    seals.require_key(workspace)
    made = bundles.seal_verdict(workspace, folder / "verdict.json", {})
    (folder / "seal.json").write_text(json.dumps(made))
    for name in ("verdict.json", "seal.json"):
        shutil.copy(folder / name, workspace.data)
    draw_planted(workspace)


def draw_planted(workspace):
    """Write a page beside the verdict of a run, and its seal."""
    verdict, page = workspace.artifact("verdict"), workspace.artifact("verdict_page")
    page.write_text("<!doctype html>")
    made = bundles.seal_page(workspace, verdict, page, {})
    workspace.artifact("page_seal").write_text(json.dumps(made))


@pytest.fixture
def draw_page():
    """Draw a page of the verdict that lies beside a run."""
    return draw_planted


@pytest.fixture
def make_candidate():
    """Write a candidate bundle into a profile; `weight` tells one candidate from another."""

    def make(
        workspace, decision="PROMOTE", judged_against="v0", weight=1.0, evidence=None, facts=()
    ):
        bundle = workspace.artifact("bundle")
        shutil.rmtree(bundle, ignore_errors=True)
        (bundle / "model").mkdir(parents=True)
        for name in ("ledger", "facts", "codebook"):
            (bundle / name).mkdir()
        for name in facts:
            (bundle / "facts" / f"{name}.parquet").write_text(name)
            (bundle / "facts" / "tables.json").write_text(json.dumps(facts))
        save_split(Split(NOON, NOON, NOON), bundle / "split.json")
        (bundle / "ledger" / "codes.json").write_text("{}")
        (bundle / "model" / "config.json").write_text(json.dumps({"weight": weight}))
        write_policy(ServingPolicy(SlatePolicy(0.06, 0.2, 10), 3), bundle)
        told = {"category": "fund", "sector": "energy", "issuer": "x", "alive": True}
        rows = [
            {"item_id": f"i{n}", "name": f"Fund {n}", "risk_class": 1 + n % 4, "popularity": 9 - n}
            for n in range(8)
        ]
        _parquet(bundle / "items.parquet", [{**row, **told} for row in rows])
        known = {"user_id": "u1", "risk_class": 2, "held": ["i0"], "dismissed": ["i1"]}
        _parquet(bundle / "users.parquet", [{**known, "vector": None}])
        edge = {"source_id": "i0", "target_id": "i4", "kind": "causal", "weight": 0.3, "support": 9}
        _parquet(bundle / "neighbours.parquet", [edge | {"false_sign_rate": 0.01}])
        verdict = {"decision": decision, "reason": f"planted {decision}", **(evidence or {})}
        judge_planted(workspace, bundle, verdict)
        bundles.seal(workspace, bundle, {"kind": "model", "judged_against": judged_against})
        return bundle

    return make
