"""A component of each kind is added by one module, one name and one line of law."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAW = "tests/laws/test_plug_law.py"

TOYS = '''"""A component of each kind that is as simple as can be."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class ToyInput:
    def build(self, width):
        return Scaled(width)


class Scaled(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.scale_D = nn.Parameter(torch.ones(width))

    def forward(self, item_VD, codes_VC, warm_V):
        return item_VD * warm_V[:, None] * self.scale_D


@dataclass(frozen=True, slots=True)
class ToyState:
    share: float

    def build(self, width, dropout):
        return Before(width, self.share)

    def flops(self, width, events):
        return 2 * events * events * width + 2 * events * width * width


class Before(nn.Module):
    def __init__(self, width, share):
        super().__init__()
        self.share = share
        self.out = nn.Parameter(torch.zeros(width, width))

    def forward(self, x_BLD, view):
        weight_BLL = view.mask_BLL.float()
        mean_BLD = weight_BLL @ x_BLD / weight_BLL.sum(-1, keepdim=True)
        return x_BLD + self.share * mean_BLD @ self.out


@dataclass(frozen=True, slots=True)
class ToyNet:
    def build(self, inputs, tasks):
        return nn.Linear(inputs, tasks)

    def flops(self, inputs, tasks):
        return 2 * inputs * tasks


@dataclass(frozen=True, slots=True)
class ToyObjective:
    """Brier score."""

    def __call__(self, logit_NMT, answers, total_T=None):
        total_T = answers.weight_NMT.sum((0, 1)) if total_T is None else total_T
        gap_NMT = answers.weight_NMT * (logit_NMT.sigmoid() - answers.label_NMT) ** 2
        return (gap_NMT.sum((0, 1)) / total_T.clamp(min=1e-6)).sum()


@dataclass(frozen=True, slots=True)
class ToyHead:
    def build(self, width, levels):
        return Turned(width)


class Turned(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.turn_DD = nn.Parameter(torch.eye(width))

    def forward(self, state_RD, prefix_RD, level):
        return (state_RD + prefix_RD) @ self.turn_DD
'''
ADDED = {
    "ITEM_INPUTS": ("ToyInput", "{}"),
    "STATE_PARTS": ("ToyState", '{"share": 0.5}'),
    "RANK_NETS": ("ToyNet", "{}"),
    "RANK_OBJECTIVES": ("ToyObjective", "{}"),
    "GENERATIVE_HEADS": ("ToyHead", "{}"),
}


def after(text: str, line: str, more: str) -> str:
    assert text.count(line) == 1
    return text.replace(line, line + more)


def test_a_toy_of_each_kind_obeys_its_laws_and_trains(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    nn, law = tmp_path / "src/tessera/model/nn", tmp_path / LAW
    (nn / "toys.py").write_text(TOYS)
    registry, laws = (nn / "plugs.py").read_text(), (ROOT / LAW).read_text()
    registry += "\nfrom tessera.model.nn import toys\n"
    for name, (toy, settings) in ADDED.items():
        registry += f'{name}["toy"] = toys.{toy}\n'
        laws = after(laws, f"{name} = {{\n", f'    "toy": {settings},\n')
    (nn / "plugs.py").write_text(registry)
    law.parent.mkdir(parents=True)
    law.write_text(laws)
    (law.parent / "conftest.py").write_text(
        "import numpy as np\nimport pytest\n\n\n@pytest.fixture\ndef rng():\n"
        "    return np.random.default_rng(0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-pno:cacheprovider", "-k", "toy or escapes", LAW],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "32 passed" in done.stdout, done.stdout
