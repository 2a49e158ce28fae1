"""The register of named systems says what is there, and nothing that no record shows."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace

import pytest
from pydantic import ValidationError

from tessera.contracts.systems import CAPABILITIES, SYSTEMS, Evidence
from tessera.platform.cli import systems_page
from tessera.platform.cli.systems_page import (
    COSTS,
    EARNS,
    NOT_BUILT,
    NOT_MEASURED,
    TIES,
    earned,
    on_by_default,
    render_systems,
    validated,
    words,
)

BUILT = [system for system in SYSTEMS if system.module]
NAMES = [system.name for system in BUILT]


def one(name):
    return next(system for system in SYSTEMS if system.name == name)


def docstring(system):
    return " ".join((importlib.import_module(system.module).__doc__ or "").split())


@pytest.mark.parametrize("system", BUILT, ids=NAMES)
def test_its_module_cites_the_source(system):
    assert system.source in docstring(system)


@pytest.mark.parametrize("system", BUILT, ids=NAMES)
def test_it_has_a_law_a_capability_and_something_to_beat(system, repository):
    assert "def test_" in (repository / system.law).read_text()
    assert system.capability in CAPABILITIES
    assert system.against


@pytest.mark.parametrize("system", BUILT, ids=NAMES)
def test_switch_and_rival_are_params_that_may_be_set(system):
    for params in (system.switch, system.rival):
        assert len(validated(params)) == len({name.split(".")[0] for name in params})
    assert system.switch != system.rival or not system.switch


@pytest.mark.parametrize("system", BUILT, ids=NAMES)
def test_what_is_on_by_default_earns_somewhere_or_names_a_decision(system, repository):
    if on_by_default(system):
        found = words(system, repository / "benchmarks" / "results")
        assert EARNS in found or system.decision, f"{system.name}: {found}"
    if system.decision:
        assert (repository / "docs" / "decisions" / system.decision).exists()


def test_no_two_systems_share_a_name_or_a_module():
    assert len({system.name for system in SYSTEMS}) == len(SYSTEMS)
    assert len({system.module for system in BUILT}) == len(BUILT)


def test_what_is_not_built_claims_nothing():
    for system in SYSTEMS:
        if system.module is None:
            assert not any((system.switch, system.rival, system.law, system.evidence))
            assert not on_by_default(system)
            assert words(system, None) == [NOT_BUILT]


@pytest.mark.parametrize("system", BUILT, ids=NAMES)
def test_its_evidence_is_there(system, repository):
    """A path that leads nowhere would read `not measured` for ever."""
    results = repository / "benchmarks" / "results"
    for evidence in system.evidence:
        found = earned(evidence, results)
        assert found.seeds or found.word != NOT_MEASURED, evidence


def test_what_is_studied_beside_the_product_is_on_nowhere(repository):
    studied = [system for system in BUILT if system.studied]
    assert studied
    assert all(system.module.startswith("tessera.") != system.studied for system in BUILT)
    page = render_systems(repository / "benchmarks" / "results")
    for system in studied:
        assert not system.switch
        assert not on_by_default(system)
        assert f"| {system.name} | {system.source} | `{system.module}` | no, a study |" in page


def test_a_wrong_switch_is_refused():
    with pytest.raises(ValidationError, match="use_code"):
        validated({"hstu.use_code": True})
    with pytest.raises(KeyError):
        validated({"hst.use_codes": True})


@pytest.fixture
def told(tmp_path):
    def word(on, off):
        found = {"seeds": [{"on": a, "off": b} for a, b in zip(on, off, strict=True)]}
        told = {"figures": found, "day": "2026-01-01", "commit": "abc"}
        (tmp_path / "some.json").write_text(json.dumps(told))
        return earned(Evidence("w", "f", "some", "seeds/*/on", "seeds/*/off"), tmp_path)

    return word


def test_a_word_is_what_two_standard_errors_of_paired_differences_say(told):
    assert told([0.9, 0.5, 0.7], [0.8, 0.41, 0.59]).word == EARNS, "seeds differ more than that"
    assert told([0.8, 0.41, 0.59], [0.9, 0.5, 0.7]).word == COSTS
    assert told([0.9, 0.5, 0.7], [0.8, 0.6, 0.7]).word == TIES
    found = told([0.3, 0.5], [0.0, 0.0])
    assert (found.mean, found.low, found.high) == pytest.approx((0.4, 0.2, 0.6))


def test_one_seed_or_seeds_that_change_nothing_measure_nothing(told):
    assert told([0.9], [0.1]).word == NOT_MEASURED
    assert told([0.9, 0.9], [0.1, 0.1]).word == NOT_MEASURED
    assert told([], []).word == NOT_MEASURED


def test_a_result_that_gives_an_interval_is_judged_by_it(tmp_path):
    told = {"figures": {"q": {"value": 0.2, "low": -0.1, "high": 0.5}}, "day": "d", "commit": "c"}
    (tmp_path / "some.json").write_text(json.dumps(told))
    assert earned(Evidence("w", "f", "some", "q"), tmp_path).word == TIES


def test_a_missing_result_is_shown_as_not_measured(tmp_path):
    page = render_systems(tmp_path)
    for word in (EARNS, TIES, COSTS):
        assert f"*{word}* +" not in page
        assert f"*{word}* -" not in page
    assert page.count(f"*{NOT_MEASURED}*") >= len(BUILT)


def test_the_page_names_every_system_once_and_says_what_is_on(repository):
    page = render_systems(repository / "benchmarks" / "results")
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    for system in BUILT:
        (line,) = [line for line in lines if line.startswith(f"| {system.name} |")]
        assert f"| {'yes' if on_by_default(system) else 'no'}" in line
    for system in SYSTEMS:
        assert system.module or f"{system.name} ({system.source})" in page


def test_on_by_default_follows_the_params_classes():
    assert on_by_default(one("Semantic IDs"))
    assert not on_by_default(one("RQ-VAE"))
    assert not on_by_default(replace(one("MARS"), switch={"hstu.recency_scales": 4}))
    assert systems_page.default_of("hstu.recency_scales") == 0
