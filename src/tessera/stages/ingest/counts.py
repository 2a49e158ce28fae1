"""What the physical lines of files were, and which of them could not be read."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that could not even be split into its columns."""

    source_file: str
    source_row: int
    reason: str
    row: str


@dataclass(slots=True)
class Counts:
    """What the physical lines of files were."""

    lines: int = 0
    """Line ends among the bytes; the last line may lack its own."""
    header: int = 0
    """The header and all before it."""
    blank: int = 0
    comment: int = 0
    joined: int = 0
    """Lines that belong to the record that began on a line before."""
    records: int = 0
    """Records, good or rejected: what the lines leave when all of the above is taken away."""
    left_out: int = 0
    """Records that the mapping says are no rows of the table."""
    split: int = 0
    """Rows more than the records that they come from."""

    @property
    def rows(self) -> int:
        """Rows in, good or rejected."""
        return self.records - self.left_out + self.split

    def add(self, other: Counts) -> None:
        """Count another file in."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))
