"""The picture and the words in docs/semantic-ids.md, from the last run of the embedded market.

Usage: python -m benchmarks.sid_pictures
"""

from __future__ import annotations

import re

from matplotlib import rc_context, rcParamsDefault
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.common import ROOT
from tessera.platform.semantic_ids.book import Book, read_book
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import DEFAULT_PROFILE, open_workspace
from tessera.stages.report.pictures import BLUE, INK, ORANGE, SOFT

PAGE, PICTURE = ROOT / "docs" / "semantic-ids.md", ROOT / "docs" / "pictures" / "semantic-ids.png"
_LISTED = 12
"""Codes of level 1 that the page lists, those of most items."""


def main() -> None:
    """Draw the picture and lay the words into the page."""
    book = read_book(open_workspace(DEFAULT_PROFILE, ROOT))
    with rc_context({**rcParamsDefault, "font.size": 8.5, "text.color": INK}):
        draw(book)
    rows = sorted(book.tree, key=lambda node: (-node.items, int(node.code)))[:_LISTED]
    table = "".join(f"| `{one.code}` | {', '.join(one.words) or '—'} | {one.items} |\n"
                    for one in rows)  # fmt: skip
    text = re.sub(r"(?s)(<!-- words -->\n).*(<!-- /words -->)", rf"\g<1>{table}\g<2>",
                  PAGE.read_text())  # fmt: skip
    files.write_bytes(text.encode(), PAGE)


def draw(book: Book) -> None:
    """Draw map and use side by side."""
    figure = Figure(figsize=(9.6, 5.2), dpi=96, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(book.levels, 2, width_ratios=(1.9, 1.0))
    _map(figure.add_subplot(grid[:, 0]), book)
    for level, counts in enumerate(book.counts):
        axes = figure.add_subplot(grid[level, 1])
        axes.bar(range(len(counts)), counts, color=BLUE, width=0.8)
        axes.axhline(sum(counts) / len(counts), color=ORANGE, linestyle="--", linewidth=1)
        axes.set_title(f"level {level + 1}: items of each codeword", loc="left", fontsize=8.5)
        _plain(axes)
    figure.savefig(PICTURE, metadata={"Software": None})


def _map(axes: Axes, book: Book) -> None:
    x_M, y_M = book.map.item_M2.T
    axes.scatter(x_M, y_M, s=5, color="#9fb3c8", linewidths=0)
    most = max(spot.items for spot in book.map.spots)
    for spot in sorted(book.map.spots, key=lambda one: -one.items):
        axes.scatter(spot.x, spot.y, s=60 + 420 * spot.items / most, facecolors="#1c5d9930",
                     edgecolors=BLUE, linewidths=1)  # fmt: skip
        axes.annotate(str(spot.code), (spot.x, spot.y), ha="center", va="center")
    for spot in sorted(book.map.spots, key=lambda one: -one.items)[:8]:
        if spot.words:
            axes.annotate(spot.words[0], (spot.x, spot.y), (0, 13), textcoords="offset points",
                          ha="center", color=ORANGE)  # fmt: skip
    axes.set_title(f"level 1, two directions with {book.map.kept:.0%} of what differs",
                   loc="left", fontsize=8.5)  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=SOFT, labelsize=7.5)
    axes.set_xticks([])


if __name__ == "__main__":
    main()
