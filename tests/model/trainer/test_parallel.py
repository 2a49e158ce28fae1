"""Four processes on two machines learn what one learns, also where machines are lost on the way."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from tessera.contracts.errors import BadParams, StageFailed
from tessera.contracts.processes import sources
from tessera.model.trainer import parallel

RUNNER = """
import json, os, signal, sys
from pathlib import Path
import ibis
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from tessera.contracts.split import load_split
from tessera.model.trainer import parallel
from tessera.model.trainer.loop import Trainer
from tessera.model.nn.device import threads
from tessera.model.training.fit import fit
from tessera.model.sequences.exposure_log import Sources
from tessera.model.params import HstuParams
from tessera.model.sequences.reading import read_dataset
folder, *ports = Path(sys.argv[1]), *sys.argv[2:]
con = ibis.duckdb.connect()
table = lambda name: con.read_parquet(folder / name)
params = HstuParams.model_validate_json((folder / "params.json").read_text())
names = ("events", "codes", "users", "items", "prices", "exposures", "outcomes", "edges", "cate")
world = read_dataset(Sources(*map(table, names)), folder / "split.json", folder, params)

def learn(node, killed):
    take = Trainer._step
    def step(self, batch):
        at = [self.run.state.epoch, self.run.state.step]
        with (folder / "steps").open("a") as file:
            file.write(json.dumps([parallel.processes(), parallel.number(), node, *at]) + "\\n")
        if killed == at and not parallel.local_number():
            os.killpg(0, signal.SIGKILL)  # the machine: its agent, and all that this one started
        return take(self, batch)
    Trainer._step = step
    with threads(1), parallel.together(parts=params.batch_parts, told=params.model_dump()):
        trained = fit("hstu", world, params, folder / node)
        state = trained.state
        weight = trained.model.item_VD.detach().numpy()
    told = {"losses": state.losses, **state.measures, "weight": weight.tolist()}
    (folder / f"{node}_{parallel.local_number()}.json").write_text(json.dumps(told))

def machine(node, port, is_host, killed):
    os.setsid()
    meet = {"is_host": is_host, "last_call_timeout": 5, "timeout": 60}
    config = LaunchConfig(
        1, 2, 2, rdzv_backend="c10d", rdzv_endpoint=f"127.0.0.1:{port}", rdzv_configs=meet,
        run_id=port, max_restarts=2, monitor_interval=0.1, start_method="fork",
        local_addr="127.0.0.1",
    )
    elastic_launch(config, learn)(node, killed)

def both(port, hosts, killed):
    found = []
    for node, is_host in hosts.items():
        if (child := os.fork()) == 0:
            try:
                machine(node, port, is_host, killed.get(node))
            finally:
                os._exit(1 if sys.exc_info()[0] else 0)
        found.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in found]

# `second` dies, `first` goes on alone until it dies too; then both start, the other one first.
ends = both(ports[0], {"first": True, "second": False}, {"second": [1, 2], "first": [2, 1]})
ends += both(ports[1], {"second": True, "first": False}, {})
(folder / "ends.json").write_text(json.dumps(ends))
learn("alone", None)
"""
CHANGES = {"batch": 15, "batch_parts": 4, "checkpoint_steps": 2}


@pytest.fixture
def trained(slated, small, stage_files):
    """Return where machines were lost and one process was not, and what each said."""
    names = ("events", "items", "codes", "users", "prices", "exposures", "outcomes", "edges",
             "cate")  # fmt: skip
    for name in names:
        getattr(slated, name).to_parquet(stage_files / name)
    params = small.model_copy(update=CHANGES)
    assert params.dropout * params.id_dropout * params.mask_weight, "all that is drawn is"
    (stage_files / "params.json").write_text(params.model_dump_json())
    (stage_files / "runner.py").write_text(RUNNER)
    words = [str(stage_files / "runner.py"), str(stage_files), *free_ports(2)]
    lo = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    subprocess.run([sys.executable, *words], env={**os.environ, **lo}, check=True, timeout=300)
    return stage_files


def free_ports(count):
    """Return ports on which nobody listens."""
    doors = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(door.getsockname()[1]) for door in doors]
    for door in doors:
        door.close()
    return ports


def test_machines_that_are_lost_and_come_back_learn_what_one_process_learns(trained):
    assert json.loads((trained / "ends.json").read_text()) == [-9, -9, 0, 0]
    steps = [json.loads(line) for line in (trained / "steps").read_text().splitlines()]
    began = [one for one in steps if one[-2:] == [0, 0] or one[1] == 0]
    alone, *shared = (json.loads((trained / name).read_text())
                      for name in ("alone_0.json", *(f"{n}_0.json" for n in ("first", "second"))))
