"""Loss and validation by epoch, as files that dvc plots."""

from __future__ import annotations

from pathlib import Path

from tessera.model.training.checkpoint import TrainingState


def write_training(place: TrainingState, model: str, folder: Path) -> None:
    """Write loss, validation nDCG@10 and, if it ranks, slate AUC by epoch, one CSV a model."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = {"loss": place.losses, "validation_ndcg_at_10": place.ndcgs}
    if place.aucs:
        columns["validation_auc"] = place.aucs
    rows = [
        ",".join([str(epoch + 1), *(_cell(column, epoch) for column in columns.values())])
        for epoch in range(len(place.losses))
    ]
    text = "\n".join([",".join(["epoch", *columns]), *rows])
    (folder / f"{model}.csv").write_text(text + "\n")


def _cell(column: list[float], epoch: int) -> str:
    return f"{column[epoch]:.6f}" if epoch < len(column) else ""
