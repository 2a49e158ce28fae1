"""The lines of one block of a file: where they end and what each is."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Block:
    """Records that the parser can take."""

    data: bytes
    row_N: npt.NDArray[np.int64]
    """Line on which each record begins, 1 is the first after the header."""
    over_lines: bool
    """Whether a value holds a line end."""


@dataclass(slots=True)
class BlockLines:
    """The lines of one block: where they end, and what each is."""

    end_N: npt.NDArray[np.int64]
    taken_N: npt.NDArray[np.bool_]
    """Belongs to a good record."""
    begins_N: npt.NDArray[np.bool_]
    """Is the first line of one."""
    blank_N: npt.NDArray[np.bool_]
    comment_N: npt.NDArray[np.bool_]

    def start(self, place: int) -> int:
        """Tell where a line begins."""
        return int(self.end_N[place - 1]) if place else 0

    def odd(self) -> list[int]:
        """List the lines that are no record by themselves and not nothing either."""
        known_N = self.taken_N | self.blank_N | self.comment_N
        found: list[int] = np.flatnonzero(~known_N).tolist()
        return found

    def join(self, first: int, last: int) -> None:
        """Let lines be one good record."""
        for mask_N in (self.blank_N, self.comment_N, self.begins_N):
            mask_N[first : last + 1] = False
        self.taken_N[first : last + 1] = True
        self.begins_N[first] = True

    def drop(self, first: int, last: int) -> list[int]:
        """Let lines be no records; list those that hold anything."""
        self.taken_N[first : last + 1] = False
        self.begins_N[first : last + 1] = False
        nothing_N = self.blank_N | self.comment_N
        return [place for place in range(first, last + 1) if not nothing_N[place]]

    def until(self, place: int) -> BlockLines:
        """Keep the lines before one."""
        return BlockLines(*(getattr(self, one.name)[:place] for one in fields(self)))

    def data(self, block: bytes) -> bytes:
        """Put the lines of good records together."""
        if self.taken_N.all():
            return block[: int(self.end_N[-1])] if len(self.end_N) else b""
        turn_N = np.flatnonzero(np.diff(self.taken_N, prepend=False, append=False))
        edge_N = np.concatenate([[0], self.end_N])[turn_N]
        return b"".join(block[start:end] for start, end in edge_N.reshape(-1, 2).tolist())
