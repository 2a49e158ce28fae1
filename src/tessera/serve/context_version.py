"""What a slate says that it knew: the bundle, and how much was told of what came after its cut."""

from __future__ import annotations

from typing import NamedTuple, Self

_IDENTITY = 12
"""Signs of a bundle's identity that are enough to know it by."""


class ContextVersion(NamedTuple):
    """What is logged as `context_version`.

    >>> str(ContextVersion.of("c0ffee" * 9, events=7, classes=30))
    'c0ffeec0ffee+7+0+30'
    >>> ContextVersion.read("c0ffeec0ffee+7+20")
    ContextVersion(identity='c0ffeec0ffee', events=7, closes=20, classes=0)
    """

    identity: str
    """Beginning of the bundle's."""
    events: int = 0
    """How many were known."""
    closes: int = 0
    """When the last close was told, in microseconds since 1970; 0 if none was."""
    classes: int = 0
    """When the last class of an investor was told; 0 if none was."""

    def __str__(self) -> str:
        """Lay it out; of what was never told nothing stands at the end."""
        told = [self.identity, self.events, self.closes, self.classes]
        while len(told) > 2 and not told[-1]:
            told.pop()
        return "+".join(map(str, told))

    @classmethod
    def of(cls, identity: str, events: int, closes: int = 0, classes: int = 0) -> Self:
        """Name what a slate of a bundle knew."""
        return cls(identity[:_IDENTITY], events, closes, classes)

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what was logged, by whichever version of the log."""
        identity, *told = text.split("+")
        return cls(identity, *map(int, told))
