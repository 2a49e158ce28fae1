"""What is learnt of the retrievers is said in a line that a person can act on."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from tessera.platform.cli import cli_mix
from tessera.platform.cli.cli import app
from tessera.serve.mix import Learnt

RUN = CliRunner()


@pytest.mark.parametrize(("more", "told"), [
    (40, "to serve it, write it into profiles/market.yaml, section serve"),
    (0, "it earns nothing beyond chance: leave what is served"),
])  # fmt: skip
def test_shares_are_printed_and_praised_only_if_they_find_more(workspace, monkeypatch, more, told):
    served_Q, found_Q = np.arange(100) < 50, np.arange(100) < 50 + more
    none_Q = np.zeros(100, bool)
    shares = {"dense": 0.75, "walk": 0.25}
    found = Learnt(("dense",), shares, 90, found_Q, served_Q, none_Q[:, None], none_Q, none_Q)
    monkeypatch.setattr(cli_mix, "open_workspace", lambda _: workspace)
    monkeypatch.setattr(cli_mix, "learnt_of", lambda *_: (found, None))
    lines = RUN.invoke(app, ["mix"]).output.splitlines()
    assert lines[0] == "learnt from 90 acquisitions: serve.shares: {dense: 0.75, walk: 0.25}"
    assert lines[1].startswith(f"of 100 later ones it finds {50 + more}.0%, what is served 50.0%")
    assert lines[2] == told
