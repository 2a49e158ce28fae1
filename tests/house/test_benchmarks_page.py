"""docs/benchmarks.md says what the results say: no more, and nothing is left out."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from benchmarks.render import SECTIONS, render
from benchmarks.report.page import ENVIRONMENT, TEMPLATES, rows_of, tidy

FIGURES = [row.name for section in SECTIONS for row in rows_of(section, {})]


@pytest.fixture
def results(tmp_path, repository):
    return shutil.copytree(repository / "benchmarks" / "results", tmp_path / "results")


@pytest.fixture
def written(tmp_path):
    """Render these results; return the page and the rows of its summary by figure."""

    def write(results):
        page = tmp_path / "benchmarks.md"
        render(results, page)
        text = page.read_text()
        summary = text.split("\n## ")[0]
        cells = [line.strip("| ").split(" | ") for line in summary.splitlines() if "](#" in line]
        return text, {row[0]: row[1:] for row in cells}

    return write


def change(results, name, **figures):
    path = results / f"{name}.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, "figures": {**found["figures"], **figures}}))


def github_anchors(text):
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_figure_has_a_row_and_every_link_leads_somewhere(results, written, repository):
    text, rows = written(results)
    assert list(rows) == FIGURES
    anchors = re.findall(r"\]\(#([^)]+)\)", text)
    assert len(anchors) == len(FIGURES)
    assert set(anchors) <= github_anchors(text)
    assert len(github_anchors(text)) == len(SECTIONS) + 1
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert pictures
    assert all((repository / "docs" / picture).is_file() for picture in pictures)


def test_every_result_has_a_section(results):
    known = {name for section in SECTIONS for name in (section.record, section.beside)}
    assert {path.stem for path in results.glob("*.json")} <= known


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.record)
def test_every_check_belongs_to_a_figure_of_the_template(section):
    asked = [row.key for row in rows_of(section, {}) if row.key]
    assert sorted(asked) == sorted(section.checks)


def test_every_template_is_a_section_or_a_part_of_one():
    templates = {path.name: path.read_text() for path in TEMPLATES.glob("*.md")}
    used = set(re.findall(r'{% (?:extends|include|from) "([^"]+)"', "".join(templates.values())))
    assert set(templates) == used | {"page.md"} | {f"{one.template}.md" for one in SECTIONS}


@pytest.mark.parametrize(
    ("template", "rendered"),
    [("a\n\n\nb\n", "a\n\nb"), ("{{ [0.1, 0.25] | spread }}", "0.1750 (0.1000 to 0.2500)"),
     ("{{ [0.1, 0.1] | spread(1) }}", "0.1"), ("{{ [] | spread }}", ""),
     ("{{ {'mean': 1, 'low': -1, 'high': 2} | lead }}", "+1.0000 [-1.0000, 2.0000]"),
     ("{{ '' | lead }}", ""), ("{{ 0 | fmt('+.1%') }}", "+0.0%"), ("{{ '' | fmt }}", ""),
     ("{{ 'hstu_profit_0.5' | called }}", "HSTU, weight 0.5 on profit"),
     ("{{ [1] | seeds }}, {{ [1, 2] | seeds }}", "1 seed, 2 seeds")],
)  # fmt: skip
def test_numbers_and_names_are_told_alike_in_all_templates(template, rendered):
    assert tidy(ENVIRONMENT.from_string(template).render()) == rendered


def test_all_rows_of_a_table_have_as_many_cells(results, written):
    text, _ = written(results)
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("| ")]
    assert len(tables) > len(SECTIONS)
    for lines in tables:
        assert {line.count("|") for line in lines} == {lines[1].count("|")}, lines[0]


def test_the_page_in_docs_is_what_the_results_say(results, written, repository):
    text, _ = written(results)
    committed = (repository / "docs" / "benchmarks.md").read_text()
    assert committed == text, "run `python -m benchmarks.render`"


def test_without_results_nothing_holds(tmp_path, written):
    text, rows = written(tmp_path / "none")
    assert list(rows) == FIGURES
    assert {(measured, word) for _, measured, word, _ in rows.values()} == {("not run", "not run")}
    assert text.count("Not run: ") == len(SECTIONS)


def test_where_no_threshold_was_asked_nothing_is_said_to_hold(results, written):
    assert written(results)[1]["Hillstrom: value of mailing whom the model picks"][2] == "—"


def test_a_figure_beyond_its_limit_says_no(results, written):
    name = "market of 10 million events"
    assert written(results)[1][name][2] == "yes"
    change(results, "synth", seconds=120.5)
    assert written(results)[1][name][1:3] == ["120.5 s", "no"]


def test_a_figure_that_meets_a_part_says_partly(results, written):
    change(results, "ope_volume", seconds=31.0)
    assert written(results)[1]["10 million exposures of 10 candidates judged"][2] == "partly"


def test_a_figure_missing_from_its_result_was_not_run(results, written):
    path = results / "house.json"
    found = json.loads(path.read_text())
    found["figures"].pop("dag_parse_s")
    path.write_text(json.dumps(found))
    _, rows = written(results)
    assert rows["DAG parse"][1:3] == ["not run", "not run"]
    assert rows["`dvc repro` with nothing to do"][2] != "not run"


def test_a_lead_over_all_seeds_is_the_headline(results, written):
    models = {"hstu": {"ndcg_10": 0.315}, "ease": {"ndcg_10": 0.31}}
    seed = {"models": {**models, "demand_leaning": {"ndcg_10": 0.3}}, "users": 9}
    lead = {"of": "ease", "mean": 0.0049, "low": 0.0004, "high": 0.0091, "seeds": 3}
    change(results, "quality_far-trans-2020-published", seeds={"0": seed}, ahead=lead)
    text, rows = written(results)
    _, measured, word, _ = rows["FAR-Trans at 2020-07-01, as published"]
    assert "+0.0049 [0.0004, 0.0091] nDCG over EASE" in measured
    assert word == "yes"
    assert "| all 3 seeds, paired by investor | EASE | +0.0049 |" in text
    change(results, "quality_far-trans-2020-published", ahead={**lead, "low": -0.0004})
    assert written(results)[1]["FAR-Trans at 2020-07-01, as published"][2] == "partly"
    unfair = {"models": models, "users": 9}
    change(results, "quality_far-trans-2020-published", seeds={"0": unfair}, ahead=lead)
    _, measured, word, _ = written(results)[1]["FAR-Trans at 2020-07-01, as published"]
    assert measured.endswith("no baseline of this record knows demand")
    assert word == "partly"


def test_the_lead_of_one_seed_is_told_as_such(results, written):
    lead = {"of": "ease", "mean": 0.0049, "low": 0.0004, "high": 0.0091}
    model = {"ndcg_10": 0.315}
    seed = {"models": {"hstu": model, "ease": model}, "users": 9, "hstu_ahead": lead}
    change(results, "quality_far-trans-2020-published", seeds={"0": seed}, ahead=None)
    measured = written(results)[1]["FAR-Trans at 2020-07-01, as published"][1]
    assert "+0.0049 [0.0004, 0.0091] nDCG over EASE" in measured


HELD = {side: {"coverage": 0.951, "reach": 0.02} for side in ("lower", "upper")}
LOW = {side: {"coverage": 0.929, "reach": 0.02} for side in ("lower", "upper")}
COVERAGE = "coverage of the bounds of DR and SNIPS, lower and upper"
USERS = "coverage of the same where users differ and return"
SLATES = "coverage of the bounds of slates, lower and upper"


@pytest.fixture
def coverage(results):
    """Figures of the study of single items in which bounds by user hold, without users."""
    path = results / "ope.json"
    found = json.loads(path.read_text())["figures"]["coverage"]
    found.pop("users differ", None)
    for one in found.values():
        for name in ("dr", "snips"):
            one["estimators"][name] |= {"normal": LOW, "clustered": LOW, "hall": HELD, "bca": HELD}
    return found


def test_normal_bounds_are_shown_but_hall_and_bca_are_asked_to_hold(results, written, coverage):
    change(results, "ope", coverage=coverage)
    text, rows = written(results)
    assert "Hall (skewness corrected) 12 of 12" in rows[COVERAGE][1]
    assert "normal by cluster 0 of 12" in rows[COVERAGE][1]
    assert rows[COVERAGE][2] == "yes"
    assert "**0.929** / **0.929** | 0.951 / 0.951" in text
    coverage["ESS 200"]["estimators"]["dr"]["hall"] = LOW
    change(results, "ope", coverage=coverage)
    assert written(results)[1][COVERAGE][2] == "partly"
    for one in coverage.values():
        for name in ("dr", "snips"):
            one["estimators"][name].pop("hall")
    change(results, "ope", coverage=coverage)
    assert written(results)[1][COVERAGE][2] == "partly", "what was not measured does not hold"


def test_bounds_by_request_must_fail_where_users_differ(results, written, coverage):
    change(results, "ope", coverage=coverage)
    assert written(results)[1][USERS][2] == "not run"
    one = coverage["users differ"] = json.loads(json.dumps(coverage["good overlap"]))
    change(results, "ope", coverage=coverage)
    text, rows = written(results)
    assert rows[USERS][2] == "yes"
    assert "| normal by request | **0.929** / **0.929** |" in text
    one["estimators"]["dr"]["normal"] = HELD
    change(results, "ope", coverage=coverage)
    assert written(results)[1][USERS][2] == "partly", "else users do not matter"


def slates_that_hold():
    fixed = {"bias": 0.0, "rmse": 0.01, "clustered": LOW, "hall": HELD, "bca": HELD}
    names = ("iips", "rips", "snrips", "dm", "dr", "switch_dr")
    gate = {"bias": 0.0, "rmse": 0.01, "sequence": HELD}
    one = {
        "truth": 0.05,
        "ess": 300.0,
        "refused_by": {"mean_weight_z": 0.0, "ess": 0.0, "largest_share": 0.0},
        "estimators": {**{name: dict(fixed) for name in names}, "excess": gate},
    }
    return {name: json.loads(json.dumps(one)) for name in ("thin", "the item above matters")}


@pytest.mark.parametrize(
    ("regime", "estimator", "word"),
    [
        ("thin", "iips", "partly"),
        ("thin", "rips", "partly"),
        ("thin", "switch_dr", "partly"),
        ("thin", "dm", "yes"),
        ("the item above matters", "dr", "partly"),
        ("the item above matters", "iips", "yes"),
    ],
)
def test_every_bound_of_slates_is_asked_to_hold_where_its_estimator_may_be_used(
    results, written, regime, estimator, word
):
    slates = slates_that_hold()
    change(results, "ope", slates=slates)
    assert written(results)[1][SLATES][2] == "yes"
    slates[regime]["estimators"][estimator]["bca"] = LOW
    change(results, "ope", slates=slates)
    text, rows = written(results)
    assert rows[SLATES][2] == word
    assert "0.951 / 0.951 | **0.929** / **0.929** | — |" in text


def test_slates_of_too_little_overlap_are_shown_and_not_asked_to_hold(results, written):
    slates = slates_that_hold()
    slates["thin"]["ess"] = 199.0
    slates["thin"]["estimators"]["dr"]["hall"] = LOW
    change(results, "ope", slates=slates)
    assert written(results)[1][SLATES][2] == "yes"


@pytest.mark.parametrize(
    ("counted", "logs", "word"), [(0.05, 200, "yes"), (0.051, 200, "partly"), (0.0, 199, "partly")]
)
def test_the_best_of_sixty_seeds_is_held_to_the_error_rate(results, written, counted, logs, word):
    promoted = {"counted": counted, "not counted": 0.25, "one bound": 0.5}
    change(results, "ope_seeds", logs=logs, promoted=promoted)
    text, rows = written(results)
    told = f"{counted:.3f} of {logs} logs (each as if it were the first: 0.250)"
    assert rows["best of sixty seeds of a candidate that is no better"][1:3] == [told, word]
    assert "| the bound by investor alone, each as if it were the first | 0.500 |" in text


@pytest.mark.parametrize(("share", "word"), [(0.59, "yes"), (0.61, "partly")])
def test_where_the_time_of_a_training_step_goes_is_told(results, written, share, word):
    kind = {
        "trunk_share": 0.7, "loss_share": 0.2, "optimizer_share": 0.1, "products_share": 0.31,
        "trunk_gflops": 50.0, "loss_gflops": 100.0,
    }  # fmt: skip
    change(
        results, "hstu", product_gflops_onednn=200.0, parts={"full": kind},
        operations={"200": {"unpruned": share, "pruned": 0.8}}, encode_and_rank_p99_ms=3.0,
    )  # fmt: skip
    text, rows = written(results)
    (name,) = (name for name in rows if "ranks 200 candidates" in name)
    told = f"p99 3.0 ms; {share:.0%} of the operations where the second ranks unpruned"
    assert rows[name][1:3] == [told, word]
    assert "| full softmax | 70% | 20% | 10% | 31% | 50.0 (25%) | 100.0 (50%) |" in text
    assert f"| 200 events | {share:.0%} | 80% |" in text


@pytest.mark.parametrize("cold", [{}, {"cold_recall_10": 0.0625}])
def test_recall_of_cold_items_is_a_column_once_measured(results, written, cold):
    model = {"ndcg_10": 0.315, "hr_10": 0.5} | cold
    seed = {"models": {"hstu": model, "ease": model}, "users": 9}
    change(results, "quality_far-trans-2020-published", seeds={"0": seed})
    section = (
        written(results)[0].split("## FAR-Trans at 2020-07-01, as published")[1].split("\n## ")[0]
    )
    assert ("Recall@10, cold |\n" in section) is bool(cold)
    assert ("Cold items were never acquired" in section) is bool(cold)
    assert section.count("| 0.0625 |") == 2 * bool(cold)
    assert "born later |" not in section


def test_all_rankers_stand_in_one_table(results, written):
    one = {f"rank_auc_{task}{end}": 0.7 for task in ("click", "buy")
           for end in ("", "_cosine", "_popularity", "_dlrm", "_wide_deep")}  # fmt: skip
    one |= {"rank_ece_click": 0.01, "rank_ece_click_dlrm": 0.01, "rank_ece_click_wide_deep": 0.019}
    place = results / "rankers.json"
    found = json.loads((results / "house.json").read_text())
    for error, word in ((0.019, "yes"), (0.02, "partly")):
        one["rank_ece_click_wide_deep"] = error
        place.write_text(json.dumps(found | {"figures": {"seeds": {"0": one}}}))
        text, rows = written(results)
        assert rows["the market's slates: ranking head, DLRM, Wide & Deep (clicks)"][2] == word
    section = text.split("## The ranking head and its rivals")[1].split("\n## ")[0]
    assert "| ranker | AUC, click | AUC, buy | calibration error, click |" in section
    assert "| Wide & Deep | 0.7000 | 0.7000 | 0.0200 |" in section
    assert "| popularity | 0.7000 | 0.7000 |  |" in section


def test_decoding_holds_only_where_it_is_surely_ahead(results, written):
    name = "decoded codes beside the cosine of the same trunk (small markets)"
    for gap, word, told in ((0.1, "yes", "earns"), (-0.1, "no", "costs"), (0.0, "no", "ties")):
        seeds = {}
        for seed in range(3):
            dense = {"recall_50": 0.5 + 0.01 * seed, "cold_ndcg_10": 0.2}
            decoded = {metric: value + gap + 0.001 * seed for metric, value in dense.items()}
            if not gap:
                decoded = {metric: value + 0.01 * (seed - 1) for metric, value in dense.items()}
            models = {"hstu_generative": decoded, "hstu_trunk": dense, "hstu": dense}
            seeds[str(seed)] = {"with": {"models": models}, "without": {"models": {"hstu": dense}}}
        change(results, "generate", seeds=seeds)
        text, rows = written(results)
        assert rows[name][2] == word
        section = text.split("## What decoding codes finds")[1].split("\n## ")[0]
        assert f"| Recall@50 | {gap + (0.001 if gap else 0):+.4f} [" in section
        assert section.count(f"| *{told}* |") >= 2


def test_a_blend_holds_only_where_it_finds_more_and_loses_nothing_warm(results, written):
    name = "blend of dense, walk and decoding beside dense alone (small markets)"
    for gain, warm, word in ((0.1, 0.0, "yes"), (0.1, -0.1, "partly"), (0.0, 0.0, "partly")):
        seeds = {}
        for seed in range(3):
            parts = ("all", "cold", "warm")
            dense = {part: {"recall": 0.5 + 0.01 * seed, "ndcg_10": 0.2} for part in parts}
            more = {part: (warm if part == "warm" else gain) for part in parts}
            blend = {
                part: {metric: value + more[part] for metric, value in dense[part].items()}
                for part in parts
            }
            seeds[str(seed)] = {
                "sources": {"dense": dense, "generated": dense, "blend": blend},
                "honest": dict.fromkeys(dense, 0.25),
                "shares": {"blend": {"dense": 0.75, "walk": 0.25}, "blend_all": {"dense": 1.0}},
                "asked": {"all": 100, "cold": 10},
            }
        change(results, "sources", seeds=seeds)
        text, rows = written(results)
        assert rows[name][2] == word
    section = text.split("## What the sources find together")[1].split("\n## ")[0]
    assert "| generated, counted 1 / m | 0.250 |" in section
    assert "| 1 | dense 0.75, walk 0.25 | dense 1.0 |" in section


def test_a_walk_is_near_only_if_it_keeps_its_word_and_beats_two_steps(results, written):
    name = "pushed walk beside the exact one (drawn graphs)"
    for same, left, word in ((0.99, 0.02, "yes"), (0.8, 0.02, "no"), (0.99, 0.001, "no")):
        pushed = {
            "p50_ms": 1.0,
            "p99_ms": 2.0,
            "reached": 9.0,
            "same": same,
            "short": 0.01,
            "left": left,
        }
        two = {"p50_ms": 1.0, "p99_ms": 2.0, "reached": 9.0, "same": 0.9}
        graphs = [{"edges": 1000, "items": 50, "walks": {"1e-05": pushed, "two steps": two}}]
        change(results, "walk", graphs=graphs)
        assert written(results)[1][name][2] == word


def test_a_slow_list_says_no_and_its_search_stands_apart(results, written):
    found = json.loads((results / "house.json").read_text())
    figures = {"calls": 1000, "users": 4000, "items": 400, "overlap_50": 1.0,
               "ranked": 200, "open_s": 1.5,
               "skew": {"requests": 500, "hours": 9.0, "median": 0.003, "p90": 0.125},
               "rank": {"p50_ms": 9.0, "p99_ms": 19.0},
               "recommend": {"p50_ms": 20.0, "p99_ms": 49.9},
               "search": {"p50_ms": 1.0, "p99_ms": 2.0}}  # fmt: skip
    for slowest, word in ((49.9, "yes"), (50.1, "partly")):
        figures["recommend"]["p99_ms"] = slowest
        (results / "recommend.json").write_text(json.dumps(found | {"figures": figures}))
        text, rows = written(results)
        assert rows["one investor's list from a bundle"][2] == word
    assert "| the whole list, with reasons | 20.0 | 50.1 |" in text
    assert "by 0.0030 in the median and 0.1250 at the 90th" in text
