"""Whether a promotion means what the page says: under drift, by investor, over a published one."""

from __future__ import annotations

from benchmarks.report.page import Figure, Found, Section, parts, table

_WRONG, _POWER, _REJECTED = 0.05, 0.8, 0.95
_LOGS = 200
_ASKED_LIFT = "+4%"
_NOTHING_BETTER = "no item better"


def _wrong_told(found: Found) -> str:
    rows = found["wrong"].values()
    now, before = (max(row[rule] for row in rows) for rule in ("gate", "before"))
    return f"at most {now:.3f} in {len(found['wrong'])} worlds (before: up to {before:.2f})"


def _wrong_table(found: Found) -> str:
    rows = [
        [name, row["looks"], *(f"{row[rule]:.3f}" for rule in ("gate", "sequence", "before"))]
        for name, row in found["wrong"].items()
    ]
    titles = ["world", "looks", "the gate", "its sequence alone", "before"]
    return parts(
        f"{found['logs']:,} logs of each, {found['requests']:,} requests, error rate "
        f"{found['level']:.4f} (the first candidate of its log).",
        table(titles, rows),
    )


_RULES_OF_SEEDS = {
    "counted": "the gate, the k-th at its share",
    "not counted": "the gate, each as if it were the first",
    "one bound": "the bound by investor alone, each as if it were the first",
}


def _seeds_table(found: Found) -> str:
    rows = [[told, f"{found['promoted'][rule]:.3f}"] for rule, told in _RULES_OF_SEEDS.items()]
    return parts(
        f"{found['logs']:,} logs of {found['requests']:,} requests, {found['seeds']} seeds on "
        f"each, error rate {found['alpha']:g} of the log.",
        table(["rule", "logs of which a seed is promoted"], rows),
    )


def _seeds_told(found: Found) -> str:
    counted, not_counted = (found["promoted"][rule] for rule in ("counted", "not counted"))
    return (
        f"{counted:.3f} of {found['logs']} logs (each as if it were the first: {not_counted:.3f})"
    )


def _settings(found: Found, *words: str) -> list[Found]:
    return [row for name, row in found["settings"].items() if all(word in name for word in words)]


def _power_told(found: Found) -> str:
    powers = [row["gate"] for row in _settings(found, _ASKED_LIFT)]
    before = [row["before"] for row in _settings(found, _ASKED_LIFT)]
    return (
        f"{min(powers):.2f} to {max(powers):.2f} at {_ASKED_LIFT} (before: {min(before):.2f} to "
        f"{max(before):.2f})"
    )


def _rejected_told(found: Found) -> str:
    (worse,) = _settings(found, "over the policy")
    wrong = max(row["rejected at any look"] for row in _settings(found, _NOTHING_BETTER))
    return f"{worse['rejected']:.2f} rejected; wrongly at any of 20 looks {wrong:.3f}"


def _rejected_checks(found: Found) -> list[bool]:
    (worse,) = _settings(found, "over the policy")
    wrong = [row["rejected at any look"] for row in _settings(found, _NOTHING_BETTER)]
    return [worse["rejected"] >= _REJECTED, *(share <= _WRONG for share in wrong)]


_RULES = ("gate", "sequence", "by investor", "last third", "last 30 days", "asymptotic", "before")


def _published_table(found: Found) -> str:
    rows = [
        [
            name,
            f"{row['standard error']:.4f}",
            f"{row['standard error before']:.4f}",
            *(f"{row[rule]:.2f}" for rule in _RULES),
            f"{row['rejected']:.2f}",
        ]
        for name, row in found["settings"].items()
    ]
    titles = ["log, candidate", "stderr", "stderr before", *_RULES, "rejected"]
    return parts(
        f"{found['logs']} logs of {found['requests']:,} requests each "
        f"({found['logs_where_nothing_is_better']} where no item is better), champion of rate "
        f"{found['rate']}, error rate {found['level']:.4f}.  The columns are shares of logs in "
        "which each bound lies above 0; the gate asks for the first four after it together.",
        table(titles, rows),
    )


SECTIONS = (
    Section(
        "ope_drift",
        "Wrong promotions under drift, and with few investors",
        "The lift steps, fades, swings with the season or wears off, the logging policy moves, the "
        "mix of investors changes; or 50 to 1,000 investors differ in lift around 0. A promotion "
        "is wrong at a look where the mean over the requests seen, or over the last third, is not "
        "above 0; its sequence alone is held to the mean over the requests seen.",
        "`make bench-ope`",
        (
            Figure(
                "wrong promotions while the lift drifts",
                "at most 5 % in every world, where the mean or the last third is not above 0",
                _wrong_told,
                lambda f: [row["gate"] <= _WRONG for row in f["wrong"].values()],
            ),
        ),
        _wrong_table,
    ),
    Section(
        "ope_seeds",
        "Seeds counted",
        "A candidate that is exactly as good as the champion is trained with sixty seeds and each "
        "is tried on the same log. The ledger of looks counts them, so that the k-th is held to "
        "6 / (pi^2 k^2) of the error rate; beside it what comes of holding each to the share of "
        "the first, as a gate would that forgets who was tried. The best of the sixty is promoted "
        "where any of them is.",
        "`make bench-ope`",
        (
            Figure(
                "best of sixty seeds of a candidate that is no better",
                "promoted on at most 5 % of the logs, at least 200 logs",
                _seeds_told,
                lambda f: [f["promoted"]["counted"] <= _WRONG, f["logs"] >= _LOGS],
            ),
        ),
        _seeds_table,
    ),
    Section(
        "ope_published",
        "Power over a published champion, and rejections",
        "Slates of three from ten, 67,000 requests, a champion of rate .35. The log was written by "
        "an older policy or by the champion itself; candidates are the champion refined, trained "
        "anew (a third of the errors its own) or another model (all of them).",
        "`make bench-ope`",
        (
            Figure(
                "power over a published champion",
                "at least .80 at +4 %, 67,000 requests, base rate .35",
                _power_told,
                lambda f: [row["gate"] >= _POWER for row in _settings(f, _ASKED_LIFT)],
            ),
            Figure(
                "a worse candidate is rejected",
                "at least 95 % at -7.2 %, wrongly at most 5 % at any look",
                _rejected_told,
                _rejected_checks,
            ),
        ),
        _published_table,
    ),
)
