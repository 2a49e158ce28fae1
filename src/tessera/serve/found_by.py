"""What is said of an item that neither an edge nor a code leads to: how it was found."""

from __future__ import annotations

from collections.abc import Mapping

SAYS: Mapping[str, str] = {
    "walk": "linked to what you hold or met lately",
    "content": "coded like what you hold or met lately",
    "segment": "acquired lately by {level} investors",
    "popular": "bought by {count}",
    "new": "new on sale",
    "uniform": "drawn by chance from all that suits",
}
"""By the name of what found it; whoever is found by vectors is told by what they did."""
_ACTED, _NEW = "fits your recent activity", "best ranked for a new investor"


def how_found(source: str | None, level: str, bought: int, *, acted: bool) -> str:
    """Return the sentence.

    Parameters
    ----------
    source : str, optional
        What found the item; None is the trunk.
    level : str
        Risk class of the investor in words.
    bought : int
        Investors who bought the item.
    acted : bool
        Whether the investor did anything yet that the ranking head knows.

    >>> how_found("popular", "income", 1, acted=True)
    'bought by 1 investor, suitable for income investors'
    """
    says = SAYS.get(source or "", _ACTED if acted else _NEW)
    count = f"{bought} investor" + "s" * (bought != 1)
    return f"{says.format(level=level, count=count)}, suitable for {level} investors"
