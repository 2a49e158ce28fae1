"""Rows of a file become rows of a table: some are left out, some hold several.

Rows that are left out by `only` are counted, not set aside: the mapping says that they are no rows
of this table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, Field, field_validator

from tessera.contracts.params import STRICT

PLACE = "source_place"
"""Number of a row among those that one record of the file became, from 1."""


class Each(BaseModel):
    """A column of the file whose elements are a row each."""

    model_config = STRICT

    from_: str = Field(alias="from", min_length=1)
    """Column of the file."""
    between: str = Field(" ", min_length=1)
    """What stands between two elements."""
    take: str = "(.+)"
    """Pattern of a whole element; its group is the value, elements that do not fit are left out."""

    @field_validator("take")
    @classmethod
    def _one_group(cls, value: str) -> str:
        if pattern(value).groups != 1:
            raise ValueError(f"{value!r} needs one group in brackets, such as (.+)-1")
        return value


def pattern(text: str) -> re.Pattern[str]:
    """Compile what a person wrote.

    Raises
    ------
    ValueError
        If it is no pattern, or one that Arrow does not know.
    """
    try:
        pc.match_substring_regex(pa.array([""]), text)
        return re.compile(text)
    except (re.error, pa.ArrowInvalid) as error:
        raise ValueError(f"{text!r} is no pattern ({error})") from error


@dataclass(slots=True)
class Shaper:
    """Shapes a table batch by batch and counts what it did."""

    only: dict[str, str]
    each: Each | None
    joined: dict[str, list[str]]
    left_out: int = 0
    """Records that are no rows of the table."""
    split: int = 0
    """Rows more than the records that they come from."""

    @property
    def columns(self) -> list[str]:
        """Columns of the file that it looks at."""
        single = [*self.only, *([self.each.from_] if self.each else [])]
        wanted = [*single, *(one for parts in self.joined.values() for one in parts)]
        return [column for column in wanted if column not in self.joined]

    def shape(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Take the rows that are meant, each as often as it says; numbers are kept."""
        kept = batch
        for column, parts in self.joined.items():
            texts = [_text(batch.column(part)) for part in parts]
            kept = kept.append_column(column, pc.binary_join_element_wise(*texts, "-"))
        for column, text in self.only.items():
            fits = pc.match_substring_regex(_text(kept.column(column)), f"^(?:{text})$")
            kept = kept.filter(fits.fill_null(False))
        self.left_out += batch.num_rows - kept.num_rows
        return kept if self.each is None else self._opened(kept, self.each)

    def _opened(self, batch: pa.RecordBatch, each: Each) -> pa.RecordBatch:
        whole = f"^(?:{each.take})$"
        lists = batch.column(each.from_)
        if not pa.types.is_list(lists.type):
            lists = pc.split_pattern(_text(lists), each.between)
        element_E = _text(pc.list_flatten(lists))
        fits = pc.match_substring_regex(element_E, whole)
        row_R = pc.list_parent_indices(lists).filter(fits).to_numpy()
        value_R = pc.replace_substring_regex(element_E.filter(fits), whole, r"\1")
        records = len(np.unique(row_R))
        self.left_out += batch.num_rows - records
        self.split += len(row_R) - records
        rows = batch.take(pa.array(row_R, pa.int64()))
        rows = rows.set_column(rows.schema.get_field_index(each.from_), each.from_, value_R)
        first_R = np.searchsorted(row_R, row_R)  # rows of one record lie together
        return rows.append_column(PLACE, pa.array(np.arange(len(row_R)) - first_R + 1, pa.int64()))


def _text(column: pa.Array) -> pa.Array:
    return column if pa.types.is_string(column.type) else column.cast(pa.string())
