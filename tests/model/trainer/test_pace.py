"""What training says behind its bar."""

from types import SimpleNamespace

import pytest
from rich.progress import Progress

from tessera.contracts.progress import Bar
from tessera.model.trainer import pace as pace_module
from tessera.model.trainer.checkpoint import TrainingState
from tessera.model.trainer.pace import Pace


def test_the_note_is_the_mean_loss_and_the_events_a_second_of_this_run(monkeypatch):
    now = [50.0]
    monkeypatch.setattr(pace_module, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    progress = Progress(disable=True)
    task = progress.add_task("train", total=3, note="")
    # Resumed in the middle of an epoch: the loss is that of the epoch, the speed of this process.
    state = TrainingState(step=4, loss_sum=8.0)
    pace = Pace(state, Bar(progress, task), steps=8)
    for loss, events in ((1.0, 1000), (0.0, 2000)):
        now[0] += 1.5
        state.step, state.loss_sum = state.step + 1, state.loss_sum + loss
        pace.show(events)
    assert progress.tasks[0].fields["note"] == "loss 1.500, 1,000 events/s"
    assert progress.tasks[0].completed == pytest.approx(2 / 8)
