"""The T-learner on the four designs of Nie and Wager, as far from the truth as it is elsewhere.

Nie and Wager, "Quasi-oracle estimation of heterogeneous treatment effects", Biometrika 2021;
causalml 0.18 and econml 0.17 agree on the errors below to four digits, with the same base model.
"""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import GradientBoostingRegressor

from tessera.stages.uplift import learner
from tessera.stages.uplift.params import UpliftParams
from tessera.stages.uplift.trials import Trials

REFERENCE = {1: 0.1867, 2: 0.2794, 3: 0.4336, 4: 0.2670}
"""Mean squared error of the effect by design, 2,000 trials."""
SEEDS = range(4)


def design(mode, seed):
    """Trials of one design with their true effects."""
    from causalml.dataset import synthetic_data

    np.random.seed(seed)  # noqa: NPY002  causalml draws from the global generator
    outcome_R, feature_RF, treated_R, effect_R, _, chance_R = synthetic_data(mode, n=2000, p=5)
    treated_R = treated_R == 1
    made = Trials(
        rows=pa.table({"user_id": [f"u{row}" for row in range(2000)]}),
        feature_RF=feature_RF,
        treated_R=treated_R,
        weight_R=1 / np.where(treated_R, chance_R, 1 - chance_R),
        chance_R=chance_R,
        bought_R=outcome_R,
    )
    return made, effect_R


@pytest.mark.parametrize("mode", REFERENCE)
def test_the_t_learner_errs_as_much_as_its_reference(mode, monkeypatch):
    base = GradientBoostingRegressor(n_estimators=100, max_depth=3, random_state=0)
    monkeypatch.setattr(learner, "boosting", lambda _: base)
    error = []
    for seed in SEEDS:
        made, effect_R = design(mode, seed)
        # Unclipped: these outcomes are no chances.
        found_R1 = learner.learn("t", made, UpliftParams()).predict(made.feature_RF)
        error.append(((found_R1[:, 0] - effect_R) ** 2).mean())
    # The reference is one drawing more of 2,000 trials.
    spread = np.std(error, ddof=1) * np.sqrt(1 + 1 / len(error))
    assert np.mean(error) == pytest.approx(REFERENCE[mode], abs=3 * spread)
