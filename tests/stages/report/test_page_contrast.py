"""Text on the page of a verdict stands out from whatever lies behind it."""

import json
import re
from pathlib import Path

from tessera.stages.report import pictures
from tessera.stages.report.page import render

EXAMPLE = json.loads((Path(__file__).parent / "verdict.json").read_text())


def contrast(one, other):
    """WCAG 2.2 contrast ratio of two colours."""

    def light(colour):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        line = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * line[0] + 0.7152 * line[1] + 0.0722 * line[2]

    bright, dark = sorted((light(one), light(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_text_has_enough_contrast():
    text = render(EXAMPLE, "a" * 64)
    named = dict(re.findall(r"--(\w+): (#\w{6})", text))
    pairs = re.findall(r"\{ color: (#\w{6}); background: (#\w{6}) \}", text)
    assert len(pairs) == 4, "one for each decision"
    washes = ["#ffffff", named["wash"], *re.findall(r"> \* \{ background: (#\w{6})", text)]
    assert len(washes) == 4, "the page, notes, broken rows and those that decide"
    pairs += [(named[ink], wash) for ink in ("ink", "soft", "good", "bad") for wash in washes]
    pairs += [(named["ink"], wash) for _, wash in pairs[:4]]
    pairs += [(colour, "#ffffff") for colour in (pictures.INK, pictures.SOFT, pictures.BLUE)]
    assert min(contrast(*pair) for pair in pairs) >= 4.5
