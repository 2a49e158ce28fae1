"""docs/systems.md: which named systems are there, which are on, and what each has earned so far.

A word is computed from results and never typed: a mean difference to the rival whose interval (two
standard errors over the seeds, or the interval that the result gives) lies above 0 *earns*, one
below 0 *costs*, any other *ties*.  One seed, or seeds that change nothing, measure nothing.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tessera.contracts.systems import CAPABILITIES, SYSTEMS, Evidence, System
from tessera.platform.workspace.params import section_types

EARNS, TIES, COSTS, NOT_MEASURED, NOT_BUILT = (
    "earns", "ties", "costs", "not measured", "not built",
)  # fmt: skip
PAGE = "docs/systems.md"
_NOTHING = "—"
_HEAD = """# Named systems

Which systems of the field are here, which are on by default, and what each earned against the
simpler thing beside it. Rendered by `make render` from `src/tessera/contracts/systems.py` and
`benchmarks/results/`, never edited by hand. *Earns*: the mean difference to the rival lies above 0
by more than two standard errors over seeds of training (or by the 95 % interval that the result
gives); *costs*: below 0; *ties*: neither; *not measured*: no result, one seed, or seeds that change
nothing. Seeds say nothing of another world or of other investors. Validation chose the epoch, so
figures after the cut are the ones to lean on. What is on by default without earning anywhere names
the decision behind it."""


@dataclass(frozen=True, slots=True)
class Earned:
    """What a system gains over its rival in one result."""

    word: str
    mean: float = 0.0
    low: float = 0.0
    high: float = 0.0
    seeds: int = 0
    """0 where the result gives an interval of its own."""
    measured: str = ""
    """Day and commit of the result."""


def earned(evidence: Evidence, results: Path) -> Earned:
    """Compute the word of one piece of evidence; a missing result is not measured."""
    path = results / f"{evidence.results}.json"
    if not path.exists():
        return Earned(NOT_MEASURED)
    told = json.loads(path.read_text())
    when = f"{told['day']}, {told['commit']}"
    on = list(_numbers(told["figures"], evidence.on.split("/")))
    if not evidence.off:
        interval = on[0] if on else {}
        return _judged(interval["value"], interval["low"], interval["high"], 0, when)
    off = list(_numbers(told["figures"], evidence.off.split("/")))
    gains = [one - other for one, other in zip(on, off, strict=True)]
    if len(gains) < 2 or statistics.stdev(gains) == 0:
        return Earned(NOT_MEASURED, seeds=len(gains), measured=when)
    mean, reach = statistics.fmean(gains), 2 * statistics.stdev(gains) / len(gains) ** 0.5
    return _judged(mean, mean - reach, mean + reach, len(gains), when)


def _judged(mean: float, low: float, high: float, seeds: int, when: str) -> Earned:
    word = EARNS if low > 0 else COSTS if high < 0 else TIES
    return Earned(word, mean, low, high, seeds, when)


def _numbers(found: Any, path: list[str]) -> Iterator[Any]:
    """Follow a path to what stands at its end; `*` follows every seed."""
    if not path:
        yield found
    elif path[0] == "*":
        for one in found.values() if isinstance(found, Mapping) else found:
            yield from _numbers(one, path[1:])
    elif path[0] in found:
        yield from _numbers(found[path[0]], path[1:])


def words(system: System, results: Path) -> list[str]:
    """Return the word of each piece of evidence; one for a system without any."""
    if system.module is None:
        return [NOT_BUILT]
    return [earned(one, results).word for one in system.evidence] or [NOT_MEASURED]


def on_by_default(system: System) -> bool:
    """Whether the defaults of the params classes turn a system on; built-in ones always are."""
    if system.module is None or system.studied:
        return False
    return all(default_of(name) == value for name, value in system.switch.items())


def default_of(name: str) -> Any:
    """Default of a param by its full name, such as `hstu.use_codes`."""
    section, _, param = name.partition(".")
    return section_types()[section].model_fields[param].get_default(call_default_factory=True)


def validated(params: Mapping[str, Any]) -> list[BaseModel]:
    """Check params by their full names against the classes of their sections.

    Raises
    ------
    ValidationError
        Of pydantic, naming the param.
    """
    sections: dict[str, dict[str, Any]] = {}
    for name, value in params.items():
        section, _, param = name.partition(".")
        sections.setdefault(section, {})[param] = value
    types = section_types()
    return [types[section].model_validate(values) for section, values in sections.items()]


def render_systems(results: Path) -> str:
    """Return the text of the page."""
    blocks = [_HEAD]
    for capability in CAPABILITIES:
        found = [one for one in SYSTEMS if one.capability == capability]
        blocks += [f"## {capability[0].upper()}{capability[1:]}", _built(found, results)]
        if absent := [f"{one.name} ({one.source})" for one in found if one.module is None]:
            blocks.append(f"*Not built*: {', '.join(absent)}.")
    return "\n\n".join(block for block in blocks if block) + "\n"


def _built(systems: Iterable[System], results: Path) -> str:
    rows = [row for one in systems if one.module for row in _rows(one, results)]
    if not rows:
        return ""
    titles = ("system", "source", "where", "on by default", "against", "earned", "measured")
    lines = [titles, ["---"] * len(titles), *rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return "\n\n".join((table, *_notes(systems)))


def _rows(system: System, results: Path) -> Iterator[tuple[str, ...]]:
    default = "yes" if on_by_default(system) else "no"
    if system.studied:
        default += ", a study"
    if system.decision:
        default += f" ([why](decisions/{system.decision}))"
    module = f"`{(system.module or '').removeprefix('tessera.')}`"
    head = (system.name, system.source, module, default, system.against)
    for number, one in enumerate(system.evidence):
        found = earned(one, results)
        yield (*(head if not number else ("",) * len(head)), _told(one, found), _measured(found))
    if not system.evidence:
        yield (*head, f"*{NOT_MEASURED}*", _NOTHING)


def _told(evidence: Evidence, found: Earned) -> str:
    where = f"{evidence.figure} ({evidence.world})"
    if found.word == NOT_MEASURED:
        return f"*{found.word}*: {where}"
    interval = f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
    return f"*{found.word}* {interval}: {where}"


def _measured(found: Earned) -> str:
    if not found.measured:
        return _NOTHING
    seeds = f"{found.seeds} seed{'s' * (found.seeds > 1)}, " if found.seeds else ""
    return f"{seeds}{found.measured}"


def _notes(systems: Iterable[System]) -> Iterator[str]:
    if missing := [f"{one.name} is without {one.missing}" for one in systems if one.missing]:
        yield f"Not there of what is: {'; '.join(missing)}."
