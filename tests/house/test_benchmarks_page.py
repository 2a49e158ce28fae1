"""docs/benchmarks.md says what the results say: no more, and nothing is left out."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from benchmarks.render import SECTIONS, render

FIGURES = [figure.name for section in SECTIONS for figure in section.figures]


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
    seed = {"models": {"hstu": {"ndcg_10": 0.315}, "ease": {"ndcg_10": 0.31}}, "users": 9}
    lead = {"of": "ease", "mean": 0.0049, "low": 0.0004, "high": 0.0091, "seeds": 3}
    change(results, "quality_far-trans-2020", seeds={"0": seed}, ahead=lead)
    text, rows = written(results)
    _, measured, word, _ = rows["FAR-Trans at 2020-07-01"]
    assert "+0.0049 [0.0004, 0.0091] nDCG over EASE" in measured
    assert word == "yes"
    assert "| all 3 seeds, paired by investor | EASE | +0.0049 |" in text
    change(results, "quality_far-trans-2020", ahead={**lead, "low": -0.0004})
    assert written(results)[1]["FAR-Trans at 2020-07-01"][2] == "partly"


def test_skewness_corrected_bounds_are_shown_once_measured(results, written):
    path = results / "ope.json"
    found = json.loads(path.read_text())
    for one in found["figures"]["coverage"].values():
        for name in ("dr", "snips"):
            one["estimators"][name].pop("hall", None)
    path.write_text(json.dumps(found))
    assert "Hall" not in written(results)[0]
    for one in found["figures"]["coverage"].values():
        for name in ("dr", "snips"):
            one["estimators"][name]["hall"] = {
                side: {"coverage": 0.951, "reach": 0.02} for side in ("lower", "upper")
            }
    path.write_text(json.dumps(found))
    text, _ = written(results)
    assert "Hall (skewness corrected) 12 of 12" in text
    assert "0.951 / 0.951" in text


@pytest.mark.parametrize("cold", [{}, {"cold_recall_10": 0.0625}])
def test_recall_of_cold_items_is_a_column_once_measured(results, written, cold):
    model = {"ndcg_10": 0.315, "hr_10": 0.5} | cold
    seed = {"models": {"hstu": model, "ease": model}, "users": 9}
    change(results, "quality_far-trans-2020", seeds={"0": seed})
    section = written(results)[0].split("## FAR-Trans at 2020-07-01")[1].split("\n## ")[0]
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


def test_a_slow_list_says_no_and_its_search_stands_apart(results, written):
    found = json.loads((results / "house.json").read_text())
    figures = {"calls": 1000, "users": 4000, "items": 400, "overlap_50": 1.0,
               "recommend": {"p50_ms": 20.0, "p99_ms": 49.9},
               "search": {"p50_ms": 1.0, "p99_ms": 2.0}}  # fmt: skip
    for slowest, word in ((49.9, "yes"), (50.1, "partly")):
        figures["recommend"]["p99_ms"] = slowest
        (results / "recommend.json").write_text(json.dumps(found | {"figures": figures}))
        text, rows = written(results)
        assert rows["one investor's list from a bundle"][2] == word
    assert "| the whole list, with reasons | 20.0 | 50.1 |" in text
