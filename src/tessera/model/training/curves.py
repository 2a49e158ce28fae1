"""Loss and validation by epoch, as files that dvc plots."""

from __future__ import annotations

from pathlib import Path

from tessera.model.trainer.checkpoint import TrainingState

NDCG, AUC = "ndcg", "auc"
"""What validation measures: nDCG@10 of lists, and the slate AUC of the ranking head."""


def write_training(state: TrainingState, model: str, folder: Path) -> None:
    """Write loss, validation nDCG@10 and, if it ranks, slate AUC by epoch, one CSV a model."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = {"loss": state.losses, "validation_ndcg_at_10": state.measures.get(NDCG, [])}
    if AUC in state.measures:
        columns["validation_auc"] = state.measures[AUC]
    rows = [
        ",".join([str(epoch + 1), *(_cell(column, epoch) for column in columns.values())])
        for epoch in range(len(state.losses))
    ]
    text = "\n".join([",".join(["epoch", *columns]), *rows])
    (folder / f"{model}.csv").write_text(text + "\n")


def _cell(column: list[float], epoch: int) -> str:
    return f"{column[epoch]:.6f}" if epoch < len(column) else ""
