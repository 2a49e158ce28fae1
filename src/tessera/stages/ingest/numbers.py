"""Numbers as people write them: marks of decimals and thousands, and which marks a column shows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

_BLANKS = " \u00a0\u2009\u202f"
_APOSTROPHES = "'\u2019"
_LIKE = f"^[+-]?[0-9.,][0-9.,_{_BLANKS}{_APOSTROPHES}]*$"
_MARKED = f"[,_{_BLANKS}{_APOSTROPHES}]"
_DOTTED = "^[+-]?[0-9]*[.][0-9]+$"
_GROUPED = "^[+-]?[1-9][0-9]{0,2}([.][0-9]{3})+$"
"""Read as thousands or as three decimals: the value alone does not say which."""
EURO = ("\u20ac", "EUR")
"""How euros are written beside a number."""
_CURRENCY = "(?:[A-Z]{3}|[A-Z]{0,3}[\u00a3-\u00a5\u20a0-\u20bf$])"
_SIGN = "[A-Z%$\u00a3-\u00a5\u20a0-\u20bf]"
_NUMBER_LETTERS = f"0123456789.,+-()_{_BLANKS}{_APOSTROPHES}"
_PERCENT = f"^(.*[0-9.,])[{_BLANKS}]*%([)-]?)$"
_BELOW_ZERO = (r"^([0-9][^()-]*?) ?-$", r"^\(([0-9][^()-]*)\)$")
_FEW = 0.05
"""A share of odd values up to which they are single mistakes, not the convention of a column."""
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Marks:
    """What stands between the digits of a number."""

    decimal: str = "."
    thousands: str | None = None

    @classmethod
    def of(cls, decimal: str | None, thousands: str | None) -> Marks:
        """Take what a person said; the other mark follows from one of them."""
        return cls(decimal or ("," if thousands == "." else "."), thousands)

    @property
    def shape(self) -> str:
        """Pattern of a number in these marks."""
        point = re.escape(self.decimal)
        digits = "[0-9]+"
        if self.thousands:
            mark = _any_of(self.thousands)
            by_three = f"[0-9]{{1,3}}(?:{mark}[0-9]{{3}})+"
            indian = f"[0-9]{{1,2}}(?:{mark}[0-9]{{2}})+{mark}[0-9]{{3}}"
            digits = f"(?:{by_three}|{indian}|[0-9]+)"
        return f"^[+-]?(?:{digits}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?$"


def _any_of(mark: str) -> str:
    return f"[{re.escape({' ': _BLANKS, chr(39): _APOSTROPHES}.get(mark, mark))}]"


def read(text: pa.Array, marks: Marks) -> pa.Array:
    """Respell numbers as every engine reads them; null is what is none in these marks."""
    found = pc.if_else(pc.match_substring_regex(text, marks.shape), text, None)
    if marks.thousands:
        found = pc.replace_substring_regex(found, _any_of(marks.thousands), "")
    return pc.replace_substring(found, marks.decimal, ".")


@dataclass(slots=True)
class Evidence:
    """What a column that nobody described shows of its marks."""

    given: int = 0
    marked: int = 0
    proven: int = 0
    """Values in which the dot can only be before decimals."""
    grouped: int = 0
    samples: list[str] = field(default_factory=list)
    dotted: str | None = None

    def see(self, text: pa.Array) -> None:
        """Count one batch."""
        odd = pc.and_(alike(text), pc.match_substring_regex(text, _MARKED))
        grouped = pc.match_substring_regex(text, _GROUPED)
        proven = pc.and_not(pc.match_substring_regex(text, _DOTTED), grouped)
        self.given += len(text) - text.null_count
        self.marked += _count(odd)
        self.grouped += _count(grouped)
        self.proven += _count(proven)
        self.samples = more(self.samples, text.filter(odd))
        self.dotted = self.dotted or next(iter(more([], text.filter(grouped))), None)

    def doubt(self) -> tuple[str, str] | None:
        """Return a value that cannot be read without knowing the marks, and the params to set."""
        if self.marked:
            if self._single_mistakes():
                return None
            return _telling(self.samples), suggestion(self.samples)
        if self.grouped and not self.proven and self.dotted:
            return self.dotted, "decimal: '.' or thousands: '.'"
        return None

    def _single_mistakes(self) -> bool:
        both = any("." in value for value in self.samples)
        return bool(self.proven) and not both and self.marked <= _FEW * self.given


def plainly_signed(text: pa.Array, currency: Sequence[str]) -> pa.Array:
    """Put the sign of a number before it, as `-`, and take its currency away.

    Bookkeepers write (12) and 12- for what is below zero, word processors a minus of their own.
    """
    text = pc.replace_substring(text, "\u2212", "-")
    if currency:
        text = _swapped(text, _beside("|".join(map(re.escape, currency))), r"\1\2\3\4")
    for below_zero in _BELOW_ZERO:
        text = _swapped(text, below_zero, r"-\1")
    return text


def _swapped(text: pa.Array, pattern: str, other: str) -> pa.Array:
    """Respell the values of a pattern; most columns have none."""
    if not pc.any(pc.match_substring_regex(text, pattern)).as_py():
        return text
    return pc.replace_substring_regex(text, pattern, other)


def _beside(currency: str) -> str:
    """Pattern of a number with a currency before or behind it, and its sign wherever."""
    number, blanks = "[+-]?[0-9.,(]", f"[{_BLANKS}]*"
    before = f"(?:{currency}){blanks}({number}.*)"
    behind = f"({number}.*?){blanks}(?:{currency})"
    return f"^([+(-]?){blanks}(?:{before}|{behind})([)-]?)$"


def in_hundredths(text: pa.Array) -> pa.Array:
    """Take the sign of percent away; null is what bears none."""
    signed = pc.match_substring_regex(text, _PERCENT)
    return pc.replace_substring_regex(pc.if_else(signed, text, None), _PERCENT, r"\1\2")


def hundredth(number: pa.Array) -> pa.Array:
    """Divide numbers by a hundred where they stand as text, so that no digit is lost."""
    return pc.binary_join_element_wise(number, pa.scalar("e-2"), "")


@dataclass(slots=True)
class Signs:
    """What stands beside numbers and no option takes away: percent and currencies."""

    column: str
    counts: Counter[str] = field(default_factory=Counter)
    """Option that would read them -> values."""
    samples: dict[str, list[str]] = field(default_factory=dict)

    def see(self, text: pa.Array) -> pa.Array:
        """Name what is wrong with each value of a batch, by the option; null = no such sign."""
        fault = pa.nulls(len(text), pa.string())
        if not pc.any(pc.match_substring_regex(text, _SIGN)).as_py():
            return fault
        for option, pattern in _BESIDE.items():
            found = pc.fill_null(pc.match_substring_regex(text, pattern), False)
            self.counts[option] += _count(found)
            self.samples[option] = more(self.samples.get(option, []), text.filter(found))
            fault = pc.if_else(found, f"{self.column}: {_TOLD[option]}", fault)
        return fault

    def doubt(self, given: int, said: Collection[str]) -> tuple[str, str] | None:
        """Return a value and the option that reads it where not a few of `given` need it."""
        for option, count in self.counts.items():
            if option not in said and count > _FEW * given:
                one = min(self.samples[option])
                return one, "percent: true" if option == "percent" else self._currency()
        return None

    def _currency(self) -> str:
        first, *others = currencies(self.samples["currency"])
        mend = f" (it holds {', '.join(others)} too: convert them first)" if others else ""
        return f"currency: {first!r}{mend}"


def currencies(values: Collection[str]) -> list[str]:
    """List the spellings of currencies that stand beside numbers.

    >>> currencies(["CHF 12.50", "12", "-3 CHF"])
    ['CHF']
    """
    beside = re.compile(_beside(_CURRENCY))
    return list(dict.fromkeys(one.strip(_NUMBER_LETTERS) for one in values if beside.match(one)))


def alike(text: pa.Array) -> pa.Array:
    """Mark the values that are numbers in some marks."""
    return pc.match_substring_regex(text, _LIKE)


def suggestion(values: Collection[str]) -> str:
    """Say which params read these values.

    >>> suggestion(["1.234,50", "12,5"])
    "decimal: ',' and thousands: '.'"
    >>> suggestion(["1,234"])
    "decimal: ',' or thousands: ','"
    """
    ways = dict.fromkeys(_said(marks, values) for marks in fitting(values))
    return " or ".join(ways) or "decimal and thousands"


_BESIDE = {"percent": _PERCENT, "currency": _beside(_CURRENCY)}
_TOLD = {
    "percent": "a percentage, which only `percent` reads",
    "currency": "a currency that `currency` does not name",
}

CANDIDATES = (
    Marks(".", None),
    Marks(",", None),
    Marks(".", ","),
    Marks(",", "."),
    Marks(".", "'"),
    Marks(",", " "),
    Marks(".", " "),
    Marks(".", "_"),
)


def fitting(values: Collection[str]) -> list[Marks]:
    """Return the marks in which every value is a number and that are needed for it."""
    return [marks for marks in CANDIDATES if _fits(values, marks)]


def _fits(values: Collection[str], marks: Marks) -> bool:
    needed = marks.thousands is None or any(
        re.search(_any_of(marks.thousands), value) for value in values
    )
    return needed and all(re.match(marks.shape, value) for value in values)


def _said(marks: Marks, values: Collection[str]) -> str:
    told = {}
    if marks.decimal == "," and any("," in value for value in values):
        told["decimal"] = ","
    if marks.thousands:
        told["thousands"] = marks.thousands
    return " and ".join(f"{name}: {_quoted(mark)}" for name, mark in told.items())


def _quoted(mark: str) -> str:
    return f'"{mark}"' if mark == "'" else f"'{mark}'"


def _telling(values: list[str]) -> str:
    """Show the value with most different marks."""
    return max(
        sorted(values), key=lambda value: len({mark for mark in value if not mark.isdigit()})
    )


def _count(mask: pa.Array) -> int:
    return int(pc.sum(mask).as_py() or 0)


def more(known: list[str], values: pa.Array) -> list[str]:
    """Add different values to a sample, up to its size."""
    if len(known) >= _SHOWN or not len(values):
        return known
    return list(dict.fromkeys([*known, *values.unique().slice(0, _SHOWN).to_pylist()]))
