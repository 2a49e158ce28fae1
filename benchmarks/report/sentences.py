"""Whether what is said of causes is true: sentences and intervals beside what is planted."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.report.page import Figure, Found, Section, parts, spread, table

_SAID, _NOW = "false sign rate", "empirical null"
_ASKED_WORDS, _ASKED_INTERVALS = 0.95, 0.93


def _worlds(found: Found) -> Iterator[tuple[str, list[Found]]]:
    for world, by_seed in found["worlds"].items():
        yield world.removeprefix("confounding "), list(by_seed.values())


def _share(markets: list[Found], how: str, of: str = "words") -> tuple[float, float]:
    """Return how many were told in all markets, and how many of them are right."""
    rows = [one[of][how] for one in markets]
    return sum(row.get("told", row.get("pairs", 0)) for row in rows), sum(r["right"] for r in rows)


def _right(told: float, right: float) -> str:
    return f"{right:.0f} of {told:.0f} ({right / told:.3f})" if told else "none told"


def _words_told(found: Found) -> str:
    return "; ".join(f"{world} {_right(*_share(of, _SAID))}" for world, of in _worlds(found))


def _words_hold(found: Found) -> list[bool]:
    shares = [_share(markets, _SAID) for _, markets in _worlds(found)]
    return [right >= _ASKED_WORDS * told for told, right in shares]


def _covered(markets: list[Found], how: str = _NOW) -> list[float]:
    return [one["null_coverage"][how] for one in markets]


def _intervals_told(found: Found) -> str:
    return "; ".join(f"{world} {spread(_covered(of), 3)}" for world, of in _worlds(found))


def _words_table(found: Found) -> str:
    names = list(next(_worlds(found))[1][0]["words"])
    rows = [
        [
            world,
            len(of),
            *(_right(*_share(of, name)) for name in names),
            f"{sum(one['words'][_SAID]['chains'] for one in of):.0f}",
        ]
        for world, of in _worlds(found)
    ]
    titles = ["confounding", "markets", *(f"said at {name}" for name in names[:-1])]
    return table([*titles, "said at false sign rate <= .05", "of its errors, chains"], rows)


def _calibration_table(found: Found) -> str:
    rows = []
    for world, of in _worlds(found):
        for between in of[0]["calibration"]:
            bins = [one["calibration"][between] for one in of]
            pairs = sum(one["pairs"] for one in bins)
            shares = [sum(one[k] for one in bins) / pairs for k in ("promised", "right") if pairs]
            rows.append([world, between, pairs, *(f"{share:.3f}" for share in shares)])
            rows[-1] += [""] * (5 - len(rows[-1]))
    return table(["confounding", "false sign rate", "pairs", "signs promised right", "found"], rows)


def _intervals_table(found: Found) -> str:
    rows = [
        [
            world,
            spread(_covered(of, "as estimated"), 3),
            spread(_covered(of), 3),
            spread([one["pearson"]["one direction"] for one in of], 3),
            spread([one["pearson"]["both directions"] for one in of], 3),
        ]
        for world, of in _worlds(found)
    ]
    titles = ["as estimated", _NOW, "correlation, one direction", "correlation, both directions"]
    return table(["confounding", *titles], rows)


def _tables(found: Found) -> str:
    return parts(
        "Sentences *holding X is estimated to raise the chance of buying it* that are right:",
        _words_table(found),
        "Signs of all pairs, by the false sign rate that is told of them:",
        _calibration_table(found),
        "95 % intervals that hold 0 where nothing is planted, and the Pearson correlation of "
        "estimated and planted effects, as mean (range) over markets:",
        _intervals_table(found),
    )


SECTIONS = (
    Section(
        "causal_sentences",
        "Sentences that say cause",
        "A reason says that holding one item raises the chance of buying another only if the false "
        "sign rate of the effect is at most .05. In markets whose effects are planted: how many of "
        "these sentences are right. What a cause does by way of a third item counts as wrong, and "
        "is counted apart as a chain.",
        "`make bench-causal-sentences`",
        (
            Figure(
                "causal sentences that are planted with their sign",
                "at least .95, whatever confounds",
                _words_told,
                _words_hold,
            ),
            Figure(
                "95 % intervals of effects hold 0 where nothing is planted",
                "at least .93, whatever confounds",
                _intervals_told,
                lambda f: [sum(_covered(of)) / len(of) >= _ASKED_INTERVALS for _, of in _worlds(f)],
            ),
        ),
        _tables,
    ),
)
