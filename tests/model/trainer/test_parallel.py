"""Four processes on two machines learn what one learns, also where machines are lost on the way."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from tessera.contracts.errors import BadParams, StageFailed
from tessera.model.trainer import parallel

RUNNER = """
import ctypes, json, os, signal, sys
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

def learn(name, killed):
    take = Trainer._step
    def step(self, batch):
        at = [self.run.state.epoch, self.run.state.step]
        with (folder / "steps").open("a") as file:
            file.write(json.dumps([parallel.processes(), parallel.number(), name, *at]) + "\\n")
        if killed == at and not parallel.local_number():
            os.killpg(0, signal.SIGKILL)  # the machine: its agent, and all that this one started
        return take(self, batch)
    Trainer._step = step
    with threads(1), parallel.together(parts=params.batch_parts, told=params.model_dump()):
        trained = fit("hstu", world, params, folder / name)
        state = trained.state
        weight = trained.model.item_VD.detach().numpy()
    told = {"losses": state.losses, **state.measures, "weight": weight.tolist()}
    (folder / f"{name}_{parallel.local_number()}.json").write_text(json.dumps(told))

def machine(name, port, number, killed):
    os.setsid()
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # none outlives the test
    meet = {"is_host": number == 2, "last_call_timeout": 5, "timeout": 60}
    config = LaunchConfig(
        1, 2, 2, rdzv_backend="c10d", rdzv_endpoint=f"127.0.0.1:{port}", rdzv_configs=meet,
        run_id=port, max_restarts=2, monitor_interval=0.1, start_method="fork",
        local_addr=f"127.0.0.{number}",
    )
    elastic_launch(config, learn)(name, killed)

def both(port, names):
    found = []
    for number, (name, killed) in enumerate(names.items(), start=1):
        if (child := os.fork()) == 0:
            try:
                machine(name, port, number, killed)
            finally:
                os._exit(1 if sys.exc_info()[0] else 0)
        found.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in found]

# `first` dies, and `second`, at which they met, goes on alone until it dies too; then both start.
ends = both(ports[0], {"first": [1, 2], "second": [2, 1]})
ends += both(ports[1], {"first": None, "second": None})
(folder / "ends.json").write_text(json.dumps(ends))
learn("alone", None)
"""
CHANGES = {"batch": 15, "batch_parts": 4, "checkpoint_steps": 2, "learning_rate": 0.003}


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
    lo = {"GLOO_SOCKET_IFNAME": "lo", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    subprocess.run([sys.executable, *words], env={**os.environ, **lo}, check=True, timeout=200)
    return stage_files


def free_ports(count):
    """Return ports on which nobody listens."""
    doors = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(door.getsockname()[1]) for door in doors]
    for door in doors:
        door.close()
    return ports


def test_machines_that_are_lost_and_come_back_learn_what_one_process_learns(trained):
    names = ("alone_0", "first_0", "first_1", "second_0", "second_1", "ends")
    said = {name: json.loads((trained / f"{name}.json").read_text()) for name in names}
    assert said["ends"] == [-9, -9, 0, 0], "each died once"
    steps = [json.loads(line) for line in (trained / "steps").read_text().splitlines()]
    course = [(many, name, epoch, step) for many, rank, name, epoch, step in steps if not rank]
    whole = [step for step in course if step[1] == "alone"]
    assert len(said["alone_0"]["losses"]) == 3
    # From its own checkpoint, as two; then from the newest, which the first of all has not.
    back = [course.index((2, "second", 1, 2)), course.index((4, "first", 2, 0))]
    assert [place[2:] for place in course[: back[0]]] == [place[2:] for place in whole[:13]]
    assert [place[2:] for place in course[back[0] : back[1]]] == [p[2:] for p in whole[12:22]]
    assert [p[2:] for p in course[back[1] : -len(whole)]] == [p[2:] for p in whole[20:]]
    assert {tuple(step[:3]) for step in steps} == {
        *((4, n, name) for n, name in enumerate(("first", "first", "second", "second"))),
        (2, 0, "second"), (2, 1, "second"), (1, 0, "alone"),
    }  # fmt: skip
    assert said["first_0"] == said["first_1"] == said["second_0"] == said["second_1"]
    for name in ("losses", "ndcg"):
        ours, theirs = said["first_0"][name], said["alone_0"][name]
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(said["first_0"]["weight"], said["alone_0"]["weight"], atol=1e-5)


def test_fewer_parts_than_processes_are_refused_before_anybody_waits(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    told = "4 processes cannot share a batch of 2: set hstu.batch_parts to 4 or a multiple of it"
    with pytest.raises(BadParams, match=told), parallel.together(parts=2):
        pytest.fail("it began")


@pytest.mark.parametrize("lost", ["width", "code"])
def test_machines_that_were_told_different_things_are_refused(monkeypatch, lost):
    first = {"code": "3a", "width": 48}
    monkeypatch.setattr(parallel, "_gathered", lambda mine: [mine, {**mine, lost: "other"}]
                        if isinstance(mine, dict) else ["0 (a)", "1 (b)"])  # fmt: skip
    told = f"in {lost}: {first[lost]} on 0 .a., other on 1 .b.; bring all to"
    with pytest.raises(BadParams, match=told):
        parallel.require_same(first)


def test_a_lost_process_is_one_line_and_our_own_mistakes_stay_what_they_are():
    told = "Connection closed by peer [10.0.0.2]:4711"
    with pytest.raises(StageFailed, match="another process .* is lost .*closed by peer.* again"):
        lose(RuntimeError(f"[gloo/transport/tcp/pair.cc:547] {told}"))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        lose(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def lose(error):
    with parallel._losses_told():
        raise error


def test_a_restart_that_would_read_what_the_last_round_left_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "1")
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    told = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"
    with pytest.raises(BadParams, match=told), parallel.together(parts=2):
        pytest.fail("it began")


def test_every_part_is_somebodys_and_no_row_is_lost(monkeypatch):
    rows = np.arange(10)
    for many in (1, 2, 3, 4):
        monkeypatch.setattr(parallel, "processes", lambda many=many: many)
        taken = []
        for rank in range(many):
            monkeypatch.setattr(parallel, "number", lambda rank=rank: rank)
            assert len(parallel.own_parts(4)) >= 1
            taken += [*parallel.own_parts(4)]
        assert sorted(taken) == [0, 1, 2, 3]
    parts = [parallel.part_of(rows, part, 4) for part in range(4)]
    assert sorted(np.concatenate(parts)) == rows.tolist()
    assert all(len(parallel.part_of(rows[:3], part, 4)) == 3 for part in range(4))
