"""Two processes that share every batch learn what one learns that has it whole."""

import json
import os
import runpy
import subprocess
import sys

import numpy as np
import pytest

RUNNER = """
import json, os, sys
from pathlib import Path
import ibis
from tessera.contracts.split import load_split
from tessera.model.trainer import parallel
from tessera.model.nn.device import threads
from tessera.model.training.fit import fit
from tessera.model.sequences.exposure_log import Sources
from tessera.model.params import HstuParams
from tessera.model.sequences.reading import read_dataset
folder, name = Path(sys.argv[1]), sys.argv[2]
con = ibis.duckdb.connect()
table = lambda name: con.read_parquet(folder / name)
params = HstuParams.model_validate_json((folder / "params.json").read_text())
names = ("events", "codes", "users", "items", "prices", "exposures", "outcomes", "edges", "cate")
sources = Sources(*(table(name) for name in names))
with threads(1), parallel.together():
    split = folder / "split.json"
    world = read_dataset(sources, split, folder, params)
    trained = fit("hstu", world, params, folder / name)
    state = trained.state
    number = parallel.number()
    weight = trained.model.item_VD.detach().numpy()
told = {"losses": state.losses, **state.measures, "weight": weight.tolist()}
(folder / f"{name}_{number}.json").write_text(json.dumps(told))
"""


@pytest.fixture
def told(slated, small, stage_files, monkeypatch):
    """Return what a training run of so many processes says, by number of the process."""
    names = ("events", "items", "codes", "users", "prices", "exposures", "outcomes", "edges",
             "cate")  # fmt: skip
    for name in names:
        getattr(slated, name).to_parquet(stage_files / name)
    changes = {"dropout": 0.0, "mask_weight": 0.0, "id_dropout": 0.0, "batch": 15}
    params = small.model_copy(update=changes)
    (stage_files / "params.json").write_text(params.model_dump_json())
    (stage_files / "runner.py").write_text(RUNNER)

    def go(processes, name):
        words = [str(stage_files / "runner.py"), str(stage_files), name]
        if processes == 1:
            monkeypatch.setattr(sys, "argv", words)
            runpy.run_path(words[0])
        else:
            launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
            command, environment = [sys.executable, "-m", *launch, *words], {"OMP_NUM_THREADS": "1"}
            subprocess.run(command, env={**os.environ, **environment}, check=True, timeout=300)
        found = [stage_files / f"{name}_{number}.json" for number in range(processes)]
        return [json.loads(path.read_text()) for path in found]

    return go


def test_two_processes_learn_what_one_learns(told):
    (alone,), (first, second) = told(1, "one"), told(2, "two")
    assert len(alone["losses"]) == 3
    assert first == second, "both hold the same model"
    for name in ("losses", "ndcg"):
        np.testing.assert_allclose(first[name], alone[name], rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(first["weight"], alone["weight"], atol=1e-4)
