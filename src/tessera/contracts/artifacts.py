"""What stages hand to each other: each artifact has one name, one kind and one author."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tessera.contracts.tables import TABLES

Kind = Literal["table", "json", "folder", "plots", "page"]
"""`plots` is a folder of CSV files that `dvc plots` draws; `page` is HTML beside what it shows."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """Something a stage writes and others read."""

    name: str
    kind: Kind
    doc: str

    @property
    def filename(self) -> str:
        """Name of the file or folder under `data/<profile>/`."""
        if self.kind == "page":
            return self.name.removesuffix("_page") + ".html"
        suffix = {"table": ".parquet", "json": ".json", "folder": "", "plots": ""}[self.kind]
        return self.name + suffix


ARTIFACTS = {
    artifact.name: artifact
    for artifact in (
        *(Artifact(table.name, "table", table.doc) for table in TABLES.values()),
        Artifact("source", "folder", "the raw files, as the source wrote them"),
        Artifact("request", "json", "what this run was asked for: the cut, if one was given"),
        Artifact("champion", "folder", "the published bundle that the candidate must beat"),
        Artifact("served", "folder", "what the service logged, if this run reads it"),
        Artifact("ledger_in", "folder", "semantic IDs given so far, with their codebook"),
        Artifact("ledger_out", "folder", "the ledger with the new items appended"),
        Artifact("split", "json", "cut, validation period, test period, time kind, protocol"),
        Artifact("suitability", "json", "what unknown risk counts as, and how much suits whom"),
        Artifact("codebook", "folder", "centroids of each level"),
        Artifact("sid_health", "json", "use, perplexity and collisions of the codes"),
        Artifact("model", "folder", "weights as safetensors, configuration as JSON"),
        Artifact("facts", "folder", "what ranking features are computed from, as of the cut"),
        Artifact("training", "plots", "loss and validation metrics by epoch"),
        Artifact("baseline_training", "plots", "the same of the baselines"),
        Artifact("ranking", "json", "ranking, profit and diversity metrics of every model"),
        Artifact("curves", "plots", "ranking metrics by k and slice"),
        Artifact("uplift_report", "json", "ATE, AUUC and Qini, out of fold"),
        Artifact("verdict", "json", "estimates, bounds, pre-checks and the decision"),
        Artifact("verdict_page", "page", "the verdict with its pictures, for people"),
        Artifact("seal", "json", "who may be believed that the verdict is as written"),
        Artifact("page_seal", "json", "the same of its page, and which verdict it was drawn from"),
        Artifact("bundle", "folder", "what would be published: index, codes, model, manifest"),
        Artifact("watch", "folder", "drift and popularity-bias page of the batch recommendations"),
    )
}
