"""The picture of the ranking table is the same bytes wherever it is drawn."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib import style

from tessera.stages.evaluate.plots import draw_ranking

INTERVALS = {
    "hstu": {"mean": 0.3, "low": 0.28, "high": 0.32},
    "ease": {"mean": 0.25, "low": 0.23, "high": 0.27},
}


def test_a_style_set_by_another_library_changes_nothing(tmp_path):
    draw_ranking(INTERVALS, "ease", tmp_path / "plain.png")
    with mpl.rc_context():
        style.use("fivethirtyeight")
        draw_ranking(INTERVALS, "ease", tmp_path / "styled.png")
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "styled.png").read_bytes()
