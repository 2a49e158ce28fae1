"""What a person states and is recorded for ever says something: blanks are no reason and no name.

Judged is what can be read, not how long the text is: characters that show nothing are taken out,
whatever separates words becomes one blank.
"""

from __future__ import annotations

import unicodedata

_REASON_LETTERS = 5
"""Different letters of the shortest reason: a key held down is none."""
_NAME_LETTERS = 2
_SHOWS_NOTHING = frozenset({"Cc", "Cf", "Cn", "Co", "Cs"})
"""Unicode categories of controls, marks of direction, joiners and characters that are none."""
_LOOKS_BLANK = frozenset("\N{BRAILLE PATTERN BLANK}\N{HANGUL FILLER}\N{HALFWIDTH HANGUL FILLER}"
                         "\N{HANGUL CHOSEONG FILLER}\N{HANGUL JUNGSEONG FILLER}")  # fmt: skip
"""Letters and symbols, by their category, that are drawn as nothing."""


def reason(text: str) -> str:
    """Return a reason as it is recorded.

    Raises
    ------
    ValueError
        If it says nothing.

    >>> reason(" agreed with  the product\N{NO-BREAK SPACE}owner ")
    'agreed with the product owner'
    """
    readable = _readable(text)
    if len({letter.casefold() for letter in readable if letter.isalpha()}) < _REASON_LETTERS:
        raise ValueError("a reason must be given in words")
    return readable


def name(text: str) -> str:
    """Return the name of a person as it is recorded.

    Raises
    ------
    ValueError
        If it names nobody.
    """
    readable = _readable(text)
    if sum(letter.isalpha() for letter in readable) < _NAME_LETTERS:
        raise ValueError(f"a name has at least {_NAME_LETTERS} letters")
    return readable


def _readable(text: str) -> str:
    return " ".join("".join(" " if one.isspace() else _drawn(one) for one in text).split())


def _drawn(one: str) -> str:
    blank = one in _LOOKS_BLANK or unicodedata.category(one) in _SHOWS_NOTHING
    return "" if blank else one
