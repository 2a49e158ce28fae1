"""Before its first day a service is told what changed since the cut of the first model."""

from types import SimpleNamespace

import numpy as np

from tessera.platform.simulate.plan import Plan
from tessera.platform.simulate.simulate import _classes_since
from tessera.serve.http.bodies import ClassList
from tessera.serve.slate import at
from tessera.stages.synth.files import write_users
from tessera.stages.synth.interactions import DAY
from tessera.stages.synth.params import SynthParams
from tessera.stages.synth.stage import draw_market
from tessera.stages.synth.town import FIRST_US


def test_classes_of_between_the_first_cut_and_the_first_day_are_told_as_the_service_takes_them(
    tmp_path,
):
    plan = Plan(days=4, users=400, seed=2)
    params = SynthParams(**plan.overrides()["synth"], seed=plan.seed)
    market = draw_market(params)
    write_users(market, tmp_path / "users.parquet")
    place = SimpleNamespace(
        workspace=SimpleNamespace(artifact=lambda name: tmp_path / f"{name}.parquet")
    )
    cut_day, first_day = plan.log_days - 60, plan.log_days
    cut, begun = (at(FIRST_US + day * DAY) for day in (cut_day, first_day))
    told = _classes_since(cut, begun, place)
    body = ClassList.model_validate({"investors": told})
    people, risk = market.investors, {}
    for column, day_U in ((0, people.joined_day_U), (1, people.changed_day_U)):
        for user in np.flatnonzero((day_U > cut_day) & (day_U < first_day)).tolist():
            if people.risk_U2[user, column]:
                risk[f"u{user:06d}", int(day_U[user])] = int(people.risk_U2[user, column])
    assert len(risk) > 10
    assert risk == {
        (one.investor_id, (one.valid_from - at(FIRST_US)).days): one.risk_class
        for one in body.investors
    }
