"""Names that others wrote, in the terminal as they stand."""

from __future__ import annotations

from rich.text import Text

_HIDDEN = "\ufffd"
"""Stands for what is no letter and no mark: it could colour, clear or turn round what is shown."""


def plain(text: str) -> Text:
    r"""Return text of which nothing is markup, a picture's name or an order to the terminal.

    >>> plain("[red]:smile: \x1b[31m").plain
    '[red]:smile: �[31m'
    """
    return Text("".join(one if one.isprintable() else _HIDDEN for one in text))
