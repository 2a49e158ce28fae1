"""monitoring/alarms.yaml is checked like params, and every runbook it names is written."""

from __future__ import annotations

import re

import pytest
import yaml

from tessera.contracts.errors import BadParams
from tessera.platform.watching.rules import FILE, PAGE, load_rules


@pytest.fixture
def said(workspace):
    """What the file says, and a way to say something else."""
    path = workspace.root / "monitoring" / FILE
    told = yaml.safe_load(path.read_text())

    def say(change):
        change(told)
        path.write_text(yaml.safe_dump(told, sort_keys=False))

    return say


def test_the_first_family_that_matches_a_series_takes_it(workspace):
    rules = load_rules(workspace)
    named = {
        "psi.items.category": "drift", "gini": "popularity", "top_5_share": "popularity",
        "unsuitable_share": "suitability", "skew.score": "skew", "skew.propensity": "propensities",
        "propensity.replay_gap": "propensities", "click_rate": "response", "events.top_item_share":
        "events", "freshness.model_age_days": "freshness", "nobody_thought_of_it": "other",
        "unknown_policy_share": "policies",
    }  # fmt: skip
    assert {name: rules.family_of(name) for name in named} == named


def test_every_runbook_is_a_heading_of_the_page(workspace, repository):
    heads = re.findall(r"^#+ (.+)$", (repository / PAGE).read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
    assert {one.runbook for one in load_rules(workspace).families.values()} <= anchors


def family(**facts):
    return lambda told: told["families"]["drift"].update(facts)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (family(action="explode"), "families.drift.action: Input should be"),
        (family(days=0), "families.drift.days: Input should be greater than or equal to 1"),
        (family(cool_down_days=0), "families.drift.cool_down_days"),
        (family(runbook="No Heading"), "families.drift.runbook"),
        (family(action="inform", of_new="roll_back"), "of_new stands in for an action: say "),
        (family(colour="red"), "families.drift.colour: Extra inputs"),
        (family(series=[]), "families.drift.series"),
        (lambda told: told.update(owner=""), "owner"),
        (lambda told: told["families"].pop("other"), r"the last family must take every series: "),
        (lambda told: told.update(families={}), "families"),
    ],
)
def test_a_mistake_is_one_line_that_names_its_place(workspace, said, change, says):
    said(change)
    with pytest.raises(BadParams, match=says) as told:
        load_rules(workspace)
    assert "\n" not in str(told.value)
    assert str(told.value).startswith("alarms.yaml: ")


def test_a_file_that_is_gone_torn_or_no_yaml_says_so(workspace):
    path = workspace.root / "monitoring" / FILE
    path.write_bytes(b"owner: \xff\xfe")
    with pytest.raises(BadParams, match="not UTF-8"):
        load_rules(workspace)
    path.write_text("owner: [")
    with pytest.raises(BadParams, match="not YAML"):
        load_rules(workspace)
    path.unlink()
    with pytest.raises(BadParams, match="is missing: restore monitoring/alarms.yaml"):
        load_rules(workspace)
