"""What the names in verdict.json mean, for whoever reads its page and never saw the code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Decision:
    """What a decision means and what follows from it."""

    says: str
    follows: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One pre-check or guardrail in plain words."""

    title: str
    wants: str
    """What is asked for; `{}` is the threshold."""


DECISIONS = {
    "PROMOTE": Decision("By this log the candidate is better, and nothing speaks against it.",
                        "It may be published in place of the champion."),
    "HOLD": Decision("There is no sufficient case for the candidate.",
                     "By this verdict the champion stays. More evidence may change it."),
    "REJECT": Decision("By this log the candidate is worse than the champion.",
                       "By this verdict the champion stays."),
    "INVALID": Decision("The log cannot answer the question.",
                        "Nothing was decided; by this verdict the champion stays."),
}  # fmt: skip

RULES = {
    "requests_dropped": Rule(
        "Requests left out because their log is incomplete (share)", "at most {}"
    ),
    "unscored_requests": Rule("Requests that the candidate did not score", "at most {}"),
    "slate_size": Rule("Items of a slate, as in the champion's policy", "exactly {}"),
    "champion_has_seen": Rule("Requests that the champion may have learnt from", "at most {}"),
    "champion_as_served": Rule(
        "Share of what the champion served that its replay gives as logged", "at least {}"
    ),
    "impossible_propensities": Rule("Logged probabilities that cannot be", "at most {}"),
    "outside_candidates": Rule(
        "Items shown that could not have been shown, by the log", "at most {}"
    ),
    "duplicate_exposures": Rule("Exposures logged more than once", "at most {}"),
    "duplicate_outcomes": Rule("Outcomes logged more than once (share)", "at most {}"),
    "propensity_mismatches": Rule("Probabilities that the log states in two ways", "at most {}"),
    "sums_not_one": Rule("Positions whose probabilities do not add up to 1", "at most {}"),
    "unsupported_mass": Rule("Chance that a policy shows what the log never could", "at most {}"),
    "mean_weight_z": Rule(
        "Distance of the mean weight from 1, in standard errors",
        "between \N{MINUS SIGN}{0} and {0}",
    ),
    "ess": Rule("Effective sample size, in requests", "at least {}"),
    "largest_share": Rule("Largest share of the estimate from one request", "at most {}"),
    "permuted_promoted": Rule(
        "Promotions of answers that were dealt out at random", "at most {}, by luck"
    ),
    "same_policy_score": Rule(
        "Largest difference of the candidate from itself on a request", "at most {}"
    ),
    "investors_lower": Rule(
        "Lift for investors like those seen (lower bound, by investor)", "above {}"
    ),
    "last_third_lower": Rule(
        "Lift over the last third of the requests (lower bound, by investor)", "above {}"
    ),
    "last_month_lower": Rule(
        "Lift over the last 30 days (lower bound at 80\N{NO-BREAK SPACE}%, by investor)", "above {}"
    ),
    "suitability_violations": Rule(
        "Items shown above the risk class of the investor", "at most {}"
    ),
    "dismissals_upper": Rule(
        "Dismissals that it may add, as a share of the champion's (upper bound)", "at most {}"
    ),
    "gini_rise": Rule("Rise of the Gini index of what is shown", "at most {}"),
    "top_share_rise": Rule("Rise of the share that the most shown items take", "at most {}"),
    "roi_lower": Rule("Monthly return of what is shown that it adds (lower bound)", "at least {}"),
    "sid_capacity": Rule(
        "Effective number of semantic IDs, per item (1: each has its own)", "at least {}"
    ),
    "sid_collisions": Rule(
        "Items without a semantic ID of their own, before the suffix (share)", "at most {}"
    ),
    "sid_use": Rule("Usable codewords that each level uses (least share)", "at least {}"),
    "sid_told_apart": Rule(
        "Effective codewords that noise leaves (share; 1: none lies near another)", "at least {}"
    ),
    "sid_survival": Rule(
        "Items that keep their code when encoded from slightly less (share)", "at least {}"
    ),
    "calibration_error": Rule(
        "Gap of the chance foretold for the top item and what came of it", "at most {}"
    ),
    "mflops_per_request": Rule("Million operations that a request takes", "at most {}"),
    "unserved_effects": Rule("Weight of effects that would not be served", "at most {}"),
    "coverage_kept": Rule("Share of the champion's catalogue coverage that is kept", "at least {}"),
}

ESTIMATORS = {
    "rips": "Weighted rewards",
    "snrips": "Weighted, normalised",
    "dm": "Reward model alone",
    "dr": "Doubly robust",
    "switch_dr": "Doubly robust, switched",
    "mips": "Top position, weighted by cluster",
    "offcem": "Top position, corrected by cluster",
}
"""Title of each estimator."""
NOTES = {
    "rips": "each answer counts by its weight",
    "snrips": "the same, divided by the mean weight; must agree in sign",
    "dm": "as good as the model; its interval says nothing, and it decides nothing",
    "dr": "the model guesses, the log corrects it; must agree in sign",
    "switch_dr": "corrected only where weights are small; must agree in sign",
    "mips": "items whose codes begin alike share a weight (MIPS); decides nothing",
    "offcem": "the same beside the model (OffCEM); decides nothing",
}

GLOSSARY = (
    ("Candidate", "What was just trained and waits for its verdict."),
    ("Champion", "What is published now. Before any model is published, it is the logging policy: "
                 "the one that wrote the log."),
    ("Request", "One list of items asked for and shown, with what the investor did about it. "
                "The unit that is counted."),
    ("Off-policy", "To ask what the candidate would have earned without showing it to anyone: "
                   "requests on which the logging policy happened to show what the candidate "
                   "would show count more, the others less."),
    ("Propensity", "How likely it was that an item was shown, written down when it was shown."),
    ("Weight", "How much more likely the candidate would have shown what was shown. Right "
               "propensities give weights whose mean is 1."),
    ("Effective sample size (ESS)", "How many equally weighted requests the log is worth. A few "
                                    "heavy weights make a large log worth little."),
    ("Lift", "What the candidate earns per request minus what the champion earns on the same "
             "requests."),
    ("Anytime-valid bound", "An interval that holds at every moment at once, so that looking "
                            "every day promotes no one by luck. It is wider than an interval for "
                            "one look. To promote, the bounds by part of the log must hold too."),
    ("Guardrail", "What must not get worse, however much the candidate earns."),
)  # fmt: skip
"""Ten terms in plain words."""


def decision(name: str) -> Decision:
    """Return what a decision means; of one that is new here nothing is known but its name."""
    return DECISIONS.get(name, Decision("", ""))


def rule(name: str) -> Rule:
    """Return what a check means; one that is new here is told by its name."""
    title = name.replace("_", " ").capitalize()
    return RULES.get(name, Rule(title, "threshold {}"))


def policy(facts: object) -> str:
    """Say in one line how scores become the list that is shown."""
    if not isinstance(facts, dict):
        return "not recorded"
    try:
        size = facts["slate_size"]
        slates = f"lists of {size}" if size else "lists"
        return (
            f"{slates}, drawn from the best {facts['top_k']} {facts['candidates']} at temperature "
            f"{facts['temperature']:g}, {100 * facts['epsilon']:g} % of each place by pure chance"
        )
    except (KeyError, TypeError, ValueError):
        return ", ".join(f"{key} {value}" for key, value in facts.items())
