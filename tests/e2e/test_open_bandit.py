"""The gate judges a candidate on a real log of random exposures, from the official files on."""

from __future__ import annotations

import pytest
import yaml

from tessera.platform.workspace import files

UNREAD = {
    "uplift": {"report_learners": [], "bootstrap": 10, "permutations": 9},
    "hstu": {"sasrec": False, "two_tower": False},
}
"""What reports beside the verdict cost; the test reads the verdict."""


@pytest.mark.real_data
def test_a_real_random_log_goes_through_the_whole_gate(warm, new_checkout, official):
    checkout = new_checkout()
    profile = checkout.root / "profiles" / "open-bandit.yaml"
    profile.write_text(profile.read_text() + yaml.safe_dump(UNREAD))
    data = official / "open-bandit-small" / "random" / "all"
    printed = checkout.must("tessera", "run", "--profile", "open-bandit", "--data", str(data))
    verdict = files.read_json(checkout.open_workspace("open-bandit").artifact("verdict"))
    assert verdict["decision"] in printed
    assert verdict["decision"] != "PROMOTE", "38 clicks cannot carry a promotion"
    assert verdict["n_requests"] > 3_000
    assert verdict["requests_dropped"]["requests"] == 0
    counts = verdict["counts"]
    assert (counts["exposures"], counts["outcomes"], counts["attributed"]) == (10_000, 38, 38)
    bounds = verdict["primary"]
    assert bounds["lower"] < 0
    assert bounds["lower"] < bounds["lift"] < bounds["upper"] < 0.1
