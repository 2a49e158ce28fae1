"""What some params of the training do, each turned once."""

import os

import pytest

from tessera.model.training.fit import fit
from tessera.model.trunk.lists import rank_users


def test_weight_decay_pulls_the_weights_to_nothing(world, small):
    def size(weight_decay):
        turned = small.model_copy(update={"weight_decay": weight_decay, "epochs": 1})
        model = fit("hstu", world, turned, None).model
        return sum(float(weight.detach().square().sum()) for weight in model.parameters())

    assert size(1.0) < size(0.0)


@pytest.mark.parametrize(("every", "written"), [(2, 5), (4, 3), (100, 1)])
def test_a_checkpoint_is_written_after_so_many_steps_and_each_epoch(
    world, small, tmp_path, monkeypatch, every, written
):
    turned = small.model_copy(update={"checkpoint_steps": every, "epochs": 1, "batch": 16})
    real, seen = os.replace, []
    monkeypatch.setattr(os, "replace", lambda *paths: (seen.append(paths[1]), real(*paths))[1])
    fit("hstu", world, turned, tmp_path)
    assert len(seen) == written


@pytest.mark.parametrize("filter_seen", [True, False])
def test_what_was_had_is_left_out_of_the_lists_where_asked(world, small, rows, split, filter_seen):
    turned = small.model_copy(update={"filter_seen": filter_seen, "epochs": 1, "top": 8})
    listed = rank_users(fit("hstu", world, turned, None).model, world, turned).to_pylist()
    had = {(row["user_id"], row["item_id"]) for row in rows
           if row["action"] == "click" and row["event_ts"] <= split.cut}  # fmt: skip
    again = [row for row in listed if (row["user_id"], row["item_id"]) in had]
    assert listed
    assert bool(again) != filter_seen


def test_a_lower_temperature_tells_cosines_further_apart(world, small):
    def loss(temperature):
        turned = small.model_copy(update={"temperature": temperature, "epochs": 1})
        return fit("hstu", world, turned, None).figures()["loss"]

    assert loss(0.05) > loss(1.0) + 0.1, "errors are punished harder at first"
