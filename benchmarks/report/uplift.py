"""What acting changes: effects planted in the market, and those of a trial with customers."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.report.page import Figure, Found, Section, interval, parts, seeds, spread, table

_OURS, _BEFORE, _RIVAL = "doubly robust, both ways", "doubly robust, shrunk", "co-occurrence"
_SCORES = (_RIVAL, "cosine", "Mantel-Haenszel, one normal")
_KNOWN = {"men": 0.076590, "women": 0.045233}


def _worlds(found: Found) -> Iterator[tuple[str, str, Found]]:
    for size, worlds in found["sizes"].items():
        for world, one in worlds.items():
            yield size, world, one


def _ours(found: Found) -> str:
    """Name the estimate that counts; results of old know one direction alone."""
    _, _, one = next(_worlds(found))
    return _OURS if _OURS in one["mean"]["scores"] else _BEFORE


def _pearson(found: Found, score: str) -> list[float]:
    return [one["mean"]["scores"][score]["pearson"] for _, _, one in _worlds(found)]


def _causal_told(found: Found) -> str:
    ours, rival = (_pearson(found, score) for score in (_ours(found), _RIVAL))
    return f"{min(ours):.3f} to {max(ours):.3f}; co-occurrence {min(rival):.3f} to {max(rival):.3f}"


def _causal_table(found: Found) -> str:
    rows, scores = [], (*_SCORES, _ours(found))
    for size, world, one in _worlds(found):
        mean = one["mean"]
        null = mean["intervals"]["doubly robust"]["null"]["coverage"]
        rows.append(
            [
                size,
                world.removeprefix("confounding "),
                f"{mean['pairs']:,.0f}",
                *(spread(one["pearson_by_seed"][score], 3) for score in scores),
                f"{null:.1%}",
            ]
        )
    titles = ["market", "confounding", "pairs", *scores, "intervals hold where nothing is planted"]
    return parts(f"{seeds(found['seeds'])}: mean (range).", table(titles, rows))


def _effects(found: Found) -> str:
    return ", ".join(f"{mail} {value:.6f}" for mail, value in found["ate"].items())


def _orders_told(found: Found) -> str:
    told = []
    for mail, one in found["tables"].items():
        name, row = max(one["rows"].items(), key=lambda pair: pair[1]["qini"]["value"])
        told.append(f"{mail} {row['qini']['value']:.4f} ({_learner(name)})")
    return "best Qini " + ", ".join(told)


def _learner(name: str) -> str:
    first, _, rest = name.partition("_")
    return f"{first.upper()}-learner" if rest == "learner" else name.replace("_", " ")


def _orders_table(mail: str, found: Found) -> str:
    rows = []
    for name, row in found["rows"].items():
        qini, auuc, tenths = row["qini"], row["auuc"], found["deciles"].get(name)
        rows.append(
            [
                _learner(name),
                f"{qini['value']:.4f} {interval((qini['low'], qini['high']))}",
                f"{row['p_value']:.3f}",
                f"{auuc['value']:.4f} {interval((auuc['low'], auuc['high']))}",
                f"{_held(tenths)} of {len(tenths)}" if tenths else "",
            ]
        )
    titles = ["Qini", "p", "AUUC", "tenths that hold"]
    return table([f"{mail}'s e-mail, ordered by", *titles], rows)


def _held(tenths: list[Found]) -> int:
    """Count tenths whose foretold effect lies in the interval of the measured one."""
    return sum(
        one["measured"]["low"] <= one["predicted"] <= one["measured"]["high"] for one in tenths
    )


_PICKED = "the e-mail that the model picks"


def _policies_told(found: Found) -> str:
    one = found["policies"][_PICKED]
    return f"{_PICKED}: {one['dr']:.4f} {interval(one['bca'])} visits a customer"


def _policies_table(found: Found) -> str:
    values = table(
        ["policy", "mailed", "DR", "BCa", "sequence", "SNIPS"],
        (
            [
                name,
                f"{one['mailed']:.0%}",
                f"{one['dr']:.4f}",
                interval(one["bca"]),
                interval(one["sequence"]),
                f"{one['snips']:.4f}",
            ]
            for name, one in found["policies"].items()
        ),
    )
    lifts = table(
        ["lift", "DR", "BCa"],
        ([name, f"{one['dr']:+.4f}", interval(one["bca"])] for name, one in found["lifts"].items()),
    )
    return parts("Visits per customer of mailing policies, with 95 % bounds:", values, lifts)


def _hillstrom(found: Found) -> str:
    effects = table(
        ["e-mail", "effect on visits", "known"],
        (
            [f"{mail}'s", f"{found['ate'][mail]:.6f}", f"{known:.6f}"]
            for mail, known in _KNOWN.items()
        ),
    )
    return parts(
        f"{found['customers']:,} customers.",
        effects,
        *(_orders_table(mail, one) for mail, one in found["tables"].items()),
        _policies_table(found),
    )


SECTIONS = (
    Section(
        "causal",
        "Effects planted in the market",
        "What holding one item does to acquiring another, as estimated from a market where it was "
        "planted: Pearson correlation of estimated and planted effects over all pairs with enough "
        "support. Confounding: wealth, popularity and taste move both. Off: nothing but risk class "
        "and activity does.",
        "`make bench-causal`",
        (
            Figure(
                "item-item effects beside those planted",
                "above co-occurrence, confounding on and off",
                _causal_told,
                lambda f: [
                    ours > rival
                    for ours, rival in zip(_pearson(f, _ours(f)), _pearson(f, _RIVAL), strict=True)
                ],
            ),
        ),
        _causal_table,
    ),
    Section(
        "uplift",
        "Hillstrom e-mail trial",
        "A trial in which a third of the customers each got the men's e-mail, the women's or none; "
        "what counts is a visit within two weeks. Customers are ordered by learners that never saw "
        "them: Qini is the area above a random order, AUUC the whole area under the gain, and the "
        "constant effect is the row that a learner must beat. A tenth of the customers holds if "
        "the effect foretold lies in the 95 % interval of the measured one. Policies are valued by "
        "our own off-policy estimators.",
        "`make bench-uplift`, official files in `TESSERA_DATA`",
        (
            Figure(
                "Hillstrom: effect of each e-mail on visits",
                ".076590 men's, .045233 women's, to 1e-6",
                _effects,
                lambda f: [abs(f["ate"][mail] - known) <= 1e-6 for mail, known in _KNOWN.items()],
            ),
            Figure(
                "Hillstrom: customers ordered by learners that never saw them",
                "intervals, p-values and the row of a constant effect",
                _orders_told,
            ),
            Figure(
                "Hillstrom: value of mailing whom the model picks",
                "with a bound",
                _policies_told,
            ),
        ),
        _hillstrom,
    ),
)
