"""Whether the gate can be believed: its errors, its power, its speed."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.report.page import Figure, Found, Section, parts, table

_WRONG = 0.05
_POWER, _LIFT, _RATE = 0.8, "+20%", "base rate 0.10"
_REJECTED = 0.95


def _promotions(found: Found, one_candidate: str) -> str:
    """List how often each rule promotes where nothing is better."""
    one, stream = found["looks"], found["stream"]
    rows = [
        ["sequence at every look, Holm over the candidates", one["holm_sequence"]],
        ["sequence at every look, one candidate", one[one_candidate]],
        [
            f"sequence, a new candidate on each of {stream['days']} days "
            f"({stream['streams']} streams)",
            stream["promoted"],
        ],
        ["without it: normal bound at every look", one["normal_looks"]],
        ["without it: normal bound, best of the candidates", one["normal_best"]],
    ]
    return parts(
        f"{one['looks']} looks at {one['requests']:,} requests, {one['candidates']} candidates.",
        table(["rule", "promotes"], ([name, f"{share:.1%}"] for name, share in rows)),
    )


def _planted_looks(found: Found) -> Found:
    """Lay the study on planted truth out as that on the market."""
    return {"looks": found["looks"], "stream": found["looks"]["stream"]}


def _gate_told(found: Found) -> str:
    one, daily = found["looks"]["holm_sequence"], found["stream"]["promoted"]
    return f"{one:.1%}; a candidate a day {daily:.1%}"


def _gate_checks(found: Found) -> list[bool]:
    one = found["looks"]
    return [
        one["looks"] >= 20 and one["candidates"] >= 10 and one["holm_sequence"] <= _WRONG,
        found["stream"]["promoted"] <= _WRONG,
    ]


_BETTER = "better"


def _promoted(found: Found, scorer: str) -> int:
    return int(found["scorers"][scorer]["decisions"].get("PROMOTE", 0))


def _trials_told(found: Found) -> str:
    worse = sum(_promoted(found, scorer) for scorer in found["scorers"] if scorer != _BETTER)
    return (
        f"worse ones promoted {worse} times, better in {_promoted(found, _BETTER)} of "
        f"{found['trials']}"
    )


def _rejected(found: Found) -> dict[str, float]:
    """Share of the trials on a long log that reject a worse scorer."""
    long = found.get("long", {"scorers": {}})
    return {
        name: one["decisions"].get("REJECT", 0) / long["trials"]
        for name, one in long["scorers"].items()
    }


def _trials_checks(found: Found) -> list[bool]:
    return [
        *(_promoted(found, scorer) == 0 for scorer in found["scorers"] if scorer != _BETTER),
        _promoted(found, _BETTER) >= _POWER * found["trials"],
    ]


_DECISIONS = ("PROMOTE", "HOLD", "REJECT", "INVALID")


def _decided(found: Found) -> str:
    """Lay out what the gate decided on the scorers of one size of log."""
    rows = []
    for scorer, one in found["scorers"].items():
        low, high = one["true_lift"]
        rows.append(
            [
                scorer,
                *(one["decisions"].get(name, 0) for name in _DECISIONS),
                f"{low:+.3f} to {high:+.3f}",
                f"{one['true_lift_inside']:.0%}",
                f"{one['promoted_if_weights_were_clipped']:.0%}",
            ]
        )
    titles = ["true lift", "inside the bounds", "promoted by clipped weights"]
    return table(["scorer", *_DECISIONS, *titles], rows)


def _trials_table(found: Found) -> str:
    told = [
        f"{found['trials']} trials of each. `better` counts as promoted from {_POWER:.0%} of them.",
        _decided(found),
    ]
    if long := found.get("long"):
        told += [
            f"{long['trials']} trials of {long['requests']:,} requests; what is worse should be "
            f"rejected in {_REJECTED:.0%} of them. The true lift is that of the first 10,000.",
            _decided(long),
        ]
    return parts(*told)


def _power_told(found: Found) -> str:
    shares = _powers(found)
    return f"{min(shares):.2f} to {max(shares):.2f} at {_LIFT}, base rate .10"


def _powers(found: Found) -> list[float]:
    return [curve[_LIFT] for name, curve in found["promoted"].items() if _RATE in name]


def _power_table(found: Found) -> str:
    curves, before = found["promoted"], found.get("promoted_before", {})
    lifts = next(iter(curves.values()))
    return parts(
        f"{found['replications']} logs of each.",
        table(["lift", *curves], _powers_by_lift(curves, lifts)),
        before and "What decided before (growing bets, the champion's rewards flipped):",
        before and table(["lift", *before], _powers_by_lift(before, lifts)),
        "![share found by lift](pictures/power.png)",
    )


def _powers_by_lift(curves: Found, lifts: Iterable[str]) -> list[list[str]]:
    return [[lift, *(f"{curve[lift]:.2f}" for curve in curves.values())] for lift in lifts]


SECTIONS = (
    Section(
        "ope",
        "Promotions when nothing is better",
        "How often the gate promotes though every item is equally good, so that every promotion is "
        "wrong, when somebody looks again and again and brings many candidates.",
        "`make bench-ope`",
        (
            Figure(
                "promotions when no candidate is better",
                "at most 5 % with 20 looks and 10 candidates",
                lambda f: _gate_told(_planted_looks(f)),
                lambda f: _gate_checks(_planted_looks(f)),
            ),
        ),
        lambda f: _promotions(_planted_looks(f), "sequence_one"),
    ),
    Section(
        "ope_market",
        "Promotions on replays of the market",
        "The same on the log of the market that ran: its requests, candidates and propensities "
        "stay, slates and clicks are drawn again so that no policy is better (A/A).",
        "`make run`, then `make bench-ope-market`",
        (
            Figure(
                "promotions on replays of the market's log, none better",
                "at most 5 % in at least 1,000 A/A replays",
                lambda f: f"{_gate_told(f)}; {f['looks']['replays']:,} replays",
                lambda f: [*_gate_checks(f), f["looks"]["replays"] >= 1000],
            ),
        ),
        lambda f: _promotions(f, "sequence_model"),
    ),
    Section(
        "ope_trials",
        "Scorers whose worth is known",
        "What the whole gate decides on candidates of which the true lift over the champion is "
        "known. Random but flattered: the reward model says twice the truth of it, and the "
        "pre-checks of overlap let everything pass. The last column is what a gate that clips "
        "weights would do.",
        "`make bench-ope`",
        (
            Figure(
                "scorers whose worth is known, each judged by the whole gate",
                "never promoted: random weights, reward flipped, random but flattered; better "
                "promoted",
                _trials_told,
                _trials_checks,
            ),
            Figure(
                "what is worse, on a long log",
                "rejected in at least 95 %",
                lambda f: ", ".join(f"{name} {share:.0%}" for name, share in _rejected(f).items()),
                lambda f: [share >= _REJECTED for share in _rejected(f).values()],
            ),
        ),
        _trials_table,
    ),
    Section(
        "ope_power",
        "Power of the sequence",
        "How often the sequence alone finds a relative lift over the policy that served, at "
        "200,000 requests and alpha .005, by that policy's rate of rewards and by overlap (ESS in "
        "percent of the requests). The whole gate asks more; its power is told under *Power over a "
        "published champion, and rejections*.",
        "`make bench-ope`",
        (
            Figure(
                "power of the sequence by relative lift",
                "at least .80 at +20 %, base rate .10",
                _power_told,
                lambda f: [share >= _POWER for share in _powers(f)],
            ),
        ),
        _power_table,
    ),
    Section(
        "ope_volume",
        "Volume",
        "Seconds and peak memory of every estimator and its bounds on 10 million exposures of 10 "
        "candidates, with the reward model's values given and without the bootstrap, beside a loop "
        "over rows on a sample.",
        "`make bench-ope`",
        (
            Figure(
                "10 million exposures of 10 candidates judged",
                "under 30 s and 4 GB, 20 times a loop over rows",
                lambda f: (
                    f"{f['seconds']} s, {f['peak_gb']} GB, {f['times_faster_than_a_loop']} times"
                ),
                lambda f: [
                    f["seconds"] < 30,
                    f["peak_gb"] < 4,
                    f["times_faster_than_a_loop"] >= 20,
                ],
            ),
        ),
        lambda f: table(
            ["exposures", "s", "peak GB", "times a loop", "rows of the loop"],
            [
                [
                    f"{f['exposures']:,}",
                    f["seconds"],
                    f["peak_gb"],
                    f["times_faster_than_a_loop"],
                    f"{f['loop_sample']:,}",
                ]
            ],
        ),
    ),
)
