"""The page of a verdict: whole, safe to read, and equal for equal verdicts."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib import rc_context

from tessera.stages.report import pictures, words
from tessera.stages.report.page import render, write_page
from tessera.stages.report.sentences import shared

DECISIONS = ("PROMOTE", "HOLD", "REJECT", "INVALID")
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}$\\frac{1}{2}$"
SECTIONS = [
    "What is compared",
    "The evidence",
    "Pre-checks: can the log answer?",
    "Guardrails: would anything else get worse?",
    "Negative controls: is anything found where nothing is?",
    "Slices: where does the lift come from?",
    "What it was made from",
    "Ten terms in plain words",
]
MINUS = "\N{MINUS SIGN}"
VOID = {"meta", "br", "img", "hr", "link", "input"}
BOUNDS = {
    "PROMOTE": (0.02, 0.09),
    "HOLD": (-0.02, 0.05),
    "REJECT": (-0.09, -0.01),
    "INVALID": (-0.02, 0.05),
}


def check(name, value, threshold, ok, **more):
    return {"name": name, "value": value, "threshold": threshold, "ok": ok, **more}


def verdict(decision="PROMOTE", **changes):
    """Lay out a verdict as the stage writes it; INVALID here failed by overlap, after estimates."""
    whole = json.loads((Path(__file__).parent / "verdict.json").read_text())
    lower, upper = BOUNDS[decision]
    whole["primary"] |= {"lift": (lower + upper) / 2, "lower": lower, "upper": upper}
    whole["sequence"] |= {"lower": [-33.0, lower - 0.1, lower], "upper": [33.0, upper + 0.1, upper]}
    for row in whole["estimates"]["lift"].values():
        row |= {"mean": (lower + upper) / 2, "lower": lower + 0.02, "upper": upper - 0.02}
    whole["prechecks"][-1]["ok"] = decision != "INVALID"
    return {**whole, "decision": decision, "reason": f"planted {decision}", **changes}


MAY_BE_NULL = """champion primary estimates sequence conditions periods prechecks guardrails weights
                 controls slices counts inputs n_users"""
EMPTY = dict.fromkeys(MAY_BE_NULL.split())


class Page(HTMLParser):
    """What stands on a page: texts by element, attributes, and whether every tag was closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.tags = [], [], []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.texts.append([tag, ""])
            self.open.append((tag, len(self.texts) - 1))

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        for _, at in self.open:
            self.texts[at][1] += data + " "

    def words(self, tag):
        return [" ".join(text.split()) for name, text in self.texts if name == tag]

    def attributes(self, name):
        return [attrs[name] for _, attrs in self.tags if name in attrs]


def page_of(written):
    return Page(render(written, "a" * 64))


@pytest.mark.parametrize("decision", DECISIONS)
def test_the_decision_stands_in_the_title_the_heading_and_plain_words(decision):
    page = page_of(verdict(decision))
    assert page.words("title") == [f"Tessera verdict: {decision}"]
    assert page.words("h1") == [f"Verdict: {decision}"]
    assert page.words("h2") == SECTIONS
    assert page.words("strong")[0] == words.DECISIONS[decision].says
    assert f"planted {decision}" in page.words("q")


@pytest.mark.parametrize("decision", DECISIONS)
def test_every_check_stands_in_a_table_with_its_result_in_words(decision):
    written = verdict(decision)
    written["guardrails"].append(check("gini_rise", 0.4, 0.2, False))
    rows = page_of(written).words("tr")
    for row in (*written["prechecks"], *written["guardrails"]):
        (mine,) = [
            one for one in rows
            if one.startswith(words.rule(row["name"]).title)
            and one.endswith("holds" if row["ok"] else "fails")
        ]  # fmt: skip
        assert row.get("says", "") in mine
    unknown = "Brand new 1.5 threshold 2 ✓ holds"
    told = "Latency p99 ms If it fails: lists would come too late 81.25 threshold 50 ✓ holds"
    assert {unknown, told} <= set(rows)


def test_what_fails_stands_first():
    late = check("last_third_lower", -0.1, 0.0, False)
    beside = [check("investors_lower", 0.1, 0.0, True), late]
    names = page_of(verdict("INVALID", conditions=beside)).attributes("data-check")
    assert names[:2] == ["last_third_lower", "investors_lower"]
    assert names[2:5] == ["ess", "requests_dropped", "brand_new"]


def test_the_lift_by_part_of_the_log_stands_beside_the_conditions():
    page = page_of(verdict("PROMOTE"))
    rows = [row for row in page.words("tr") if row.startswith(("last third", "last 30 days"))]
    assert len(rows) == 2
    assert all(" to " in row and row.endswith("%") for row in rows)
    late = check("last_third_lower", -0.1, 0.0, False)
    held = page_of(verdict("HOLD", primary=verdict("PROMOTE")["primary"], conditions=[late]))
    assert "not surely enough here: Lift over the last third" in " ".join(held.words("p"))


def test_what_could_not_be_measured_neither_holds_nor_fails():
    rails = [check("gini_rise", 0.1, 0.2, True), check("roi_lower", None, -0.01, None)]
    page = page_of(verdict(guardrails=rails))
    (mine,) = [row for row in page.words("tr") if row.startswith(words.rule("roi_lower").title)]
    assert mine.endswith(f"unknown at least {MINUS}0.01 not measured")
    assert "guardrails hold, 1 not measured" in page.words("dt")
    assert "1 of 2" in page.words("dd")
    assert f"Not measured: {words.rule('roi_lower').title}." in " ".join(page.words("p"))
    assert "broken" not in page.attributes("class")
    held = page_of(verdict("HOLD", guardrails=[check("dismissals_upper", None, 0.05, False)]))
    assert any("no bound at most 0.05 ✗ fails" in row for row in held.words("tr"))


@pytest.mark.parametrize("decision", DECISIONS)
def test_tables_and_pictures_can_be_read_by_ear(decision):
    page = page_of(verdict(decision))
    assert len(page.words("caption")) == len(page.words("table")) == 8
    assert all(page.words("caption"))
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")
    drawn = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert len(drawn) == 5
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in drawn)
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert set(page.attributes("aria-labelledby")) <= set(ids)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert all(after - before <= 1 for before, after in zip([0, *levels], levels, strict=False))


def test_what_was_not_estimated_is_said_and_leaves_no_empty_box():
    page = page_of(verdict("INVALID", **EMPTY, n_requests=0))
    text = " ".join(page.words("body"))
    assert page.words("h2") == SECTIONS
    for said in ("No lift was estimated: there was no request", "No weights were computed",
                 "No pre-check was run", "No guardrail was measured", "No control was run",
                 "No slices"):  # fmt: skip
        assert said in text
    assert "svg" not in dict(page.tags)
    assert len(page.words("table")) == 1, "only the hashes"
    for tag in ("dl", "dd", "table", "figure", "p", "td", "li"):
        assert all(page.words(tag)), f"an empty {tag}"
    assert "None" not in text


def test_an_early_pre_check_leaves_the_checks_and_no_estimate():
    checks = [check("sums_not_one", 3.0, 0.0, False)]
    page = page_of(verdict("INVALID", **{**EMPTY, "prechecks": checks}))
    text = " ".join(page.words("body"))
    assert "1 of 1 pre-checks of the log failed: Positions whose probabilities" in text
    assert "No lift was estimated: the log failed a pre-check" in text


def test_estimates_of_an_invalid_log_are_marked():
    assert "For diagnosis only." in page_of(verdict("INVALID")).words("strong")
    assert "For diagnosis only." not in page_of(verdict("HOLD")).words("strong")


def hostile():
    return verdict(
        "HOLD",
        reason=HOSTILE,
        champion=HOSTILE,
        candidate=HOSTILE,
        cut=HOSTILE,
        policy={HOSTILE: HOSTILE},
        prechecks=[check(HOSTILE, 1.0, 1.0, False, says=HOSTILE)],
        inputs={HOSTILE: HOSTILE},
        params={HOSTILE: HOSTILE},
        controls={HOSTILE: {HOSTILE: HOSTILE}},
        slices={"min_users": 50, "rows": [
            {"by": HOSTILE, "name": HOSTILE, "n_requests": 1, "n_users": 1, "mean": 0.0,
             "lower": None, "upper": None}]},
    )  # fmt: skip


def test_hostile_text_stays_text():
    text = render(hostile(), "a" * 64)
    page = Page(text)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "img", "iframe", "object", "embed", "link"}
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert " ".join(HOSTILE.split()) in " ".join(page.words("q"))
    drawn = Page(pictures.forest([pictures.Estimate(HOSTILE, 0.1, None, None)], HOSTILE, "lift"))
    assert drawn.attributes("aria-label") == [HOSTILE]
    assert "49" not in re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("decision", DECISIONS)
def test_the_page_asks_nobody_for_anything(decision):
    text = render(verdict(decision), "a" * 64)
    page = Page(text)
    asked = [*page.attributes("src"), *page.attributes("href"), *page.attributes("xlink:href")]
    asked += re.findall(r"url\(([^)]*)\)", text)
    assert asked, "the pictures refer to their own parts"
    assert all(one.startswith("#") for one in asked)
    assert {one[1:] for one in asked} <= set(page.attributes("id"))
    assert "@import" not in text
    assert "script" not in {tag for tag, _ in page.tags}


def test_equal_verdicts_give_equal_bytes(tmp_path):
    told = tmp_path / "verdict.json"
    told.write_text(json.dumps(verdict()))
    write_page(told, tmp_path / "one.html")
    with rc_context({"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red"}):
        write_page(told, tmp_path / "other.html")
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "other.html").read_bytes()
    told.write_text(json.dumps(verdict(), indent=1))
    write_page(told, tmp_path / "other.html")
    assert (tmp_path / "one.html").read_bytes() != (tmp_path / "other.html").read_bytes()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reason": "identical policies: the same"}, "would show the same"),
        ({}, f"as low as {MINUS}0.0200 and as high as +0.0500 answers per request"),
        ({"primary": {**verdict("PROMOTE")["primary"]},
          "guardrails": [check("gini_rise", 0.4, 0.2, False)]},
         "by its lower bound, but it breaks a guardrail: Rise of the Gini index"),
        ({"primary": {**verdict("PROMOTE")["primary"]}}, "a further condition is not met"),
    ],
)  # fmt: skip
def test_a_hold_says_what_was_missing(changes, said):
    assert said in " ".join(page_of(verdict("HOLD", **changes)).words("p"))


def test_who_accepts_a_loss_is_not_told_that_the_candidate_is_better():
    primary = {**verdict()["primary"], "margin": 0.03, "lower": -0.02}
    text = " ".join(page_of(verdict(primary=primary)).words("p"))
    assert "at most 0.03 worse than the champion" in text
    assert words.DECISIONS["PROMOTE"].says not in text


def test_the_share_of_the_kth_candidate_is_the_error_rate():
    primary = {**verdict()["primary"], "k": 3, "alpha_k": 0.0034, "level": 0.0034}
    told = page_of(verdict(primary=primary)).words("dd")
    assert "0.34 %: of 5 % in all, the share of candidate 3 on this log" in told


@pytest.mark.parametrize(
    ("decisions", "said"),
    [
        (["HOLD", "HOLD"], "None is promoted. The rest of this page tells of the best of them, "),
        (["HOLD", "PROMOTE"], "the promoted one with the highest lower bound, "),
        (["PROMOTE", "INVALID"], "by luck. The rest of this page tells of the best of them, "),
    ],
)
def test_of_a_batch_the_page_names_what_it_tells_of(decisions, said):
    """A negative control may refuse the one that was proposed, beside one that passes."""
    batch = [
        {"temperature": 0.5 + k, "decision": one, "proposed": k == 1}
        for k, one in enumerate(decisions)
    ]
    told = shared({"decision": decisions[1], "primary": {"alpha_k": 0.03}, "batch": batch})
    assert told.endswith(f"{said}temperature 1.5.")


def test_a_slice_of_too_few_investors_shows_no_interval():
    rows = page_of(verdict()).words("tr")
    assert "month 2025-01 900 12 +0.0550 too few" in rows
    assert "1 900 300 +0.0550 +0.0250 to +0.0850" in rows


def test_a_bound_far_beyond_the_estimates_is_cut_and_says_so():
    near = pictures.Estimate("near", 0.1, 0.05, 0.15)
    plain = pictures.forest([near], "x", "lift")
    far = pictures.forest([near, pictures.Estimate("far", None, -33, 33, True)], "x", "lift")
    assert far.count(pictures.ORANGE) - plain.count(pictures.ORANGE) >= 4, "a bar and two arrows"
    assert f"{MINUS}0.2" not in plain
    assert not re.search(rf">{MINUS}?[1-9]\d*(\.\d)?</text>", far), "the estimates keep their scale"
