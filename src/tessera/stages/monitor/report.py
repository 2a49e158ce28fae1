"""Evidently reports of drift and popularity bias: the one module that calls it."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tessera.stages.monitor.drift import Drifted
from tessera.stages.monitor.frames import MISSING, Pair
from tessera.stages.monitor.page import headed
from tessera.stages.monitor.spec import NUMERICAL, Rule

os.environ["DO_NOT_TRACK"] = "1"  # read once, at import
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the library still imports what others deprecated
    from evidently import DataDefinition, Dataset, Recsys, Report
    from evidently.core.metric_types import SingleValue, SingleValueCalculation, SingleValueMetric
    from evidently.legacy.renderers.html_widgets import CounterData, counter
    from evidently.metrics import ValueDrift
    from evidently.metrics.recsys import PopularityBiasMetric

Rules = Mapping[Any, Rule]
"""How each column is judged, by name."""


class CatalogueCoverage(SingleValueMetric):  # type: ignore[misc]
    """Share of the catalogue that appears; Evidently's own coverage can exceed 1."""

    column: str
    catalogue: int


class CatalogueCoverageCalculation(SingleValueCalculation[CatalogueCoverage]):  # type: ignore[misc]
    """Counts distinct items; Evidently finds it by its type parameter."""

    def calculate(
        self,
        context: Any,  # noqa: ARG002  the signature is Evidently's
        current_data: Dataset,
        reference_data: Dataset | None,
    ) -> tuple[SingleValue, SingleValue | None]:
        """Return the share now and, if there is a reference, before."""
        now = self.result(self._share(current_data))
        shown = [CounterData.float("lists", now.value, 4)]
        before = None
        if reference_data is not None:
            before = self.result(self._share(reference_data))
            shown.append(CounterData.float("interactions", before.value, 4))
        now.widget = [counter(title=self.display_name(), counters=shown)]
        return now, before

    def display_name(self) -> str:
        """Title in the report."""
        return "Catalogue coverage"

    def _share(self, data: Dataset) -> float:
        return float(data.as_dataframe()[self.metric.column].nunique() / self.metric.catalogue)


def drift_report(table: str, pair: Pair, rules: Rules, page: Path) -> list[Drifted]:
    """Measure the drift of every column that the source fills; write the page if there is one.

    Returns
    -------
    list of Drifted
        Nothing where one side has no rows.
    """
    columns = _filled(pair, rules)
    if not columns:
        return []
    metrics = [_drift(name, rules[name]) for name in columns]
    values = _run(table, metrics, pair, _definition(columns), {}, page)
    return _judge(table, columns, rules, values)


def list_report(pair: Pair, rules: Rules, length: int, catalogue: int, page: Path) -> list[Drifted]:
    """Compare lists with interactions: drift of what is listed, popularity bias, coverage."""
    if pair.reference.empty or pair.current.empty:
        return []
    columns = _filled(pair, rules)
    ranking = Recsys(
        user_id="user_id",
        item_id="item_id",
        prediction="rank",
        target="rank",
        recommendations_type="rank",
    )
    metrics = [
        *(_drift(name, rules[name]) for name in columns),
        PopularityBiasMetric(k=length, metric="arp", normalize_arp=True),
        CatalogueCoverage(column="item_id", catalogue=catalogue),
    ]
    held = {"current_train_data": pair.reference}
    values = _run("lists", metrics, pair, _definition(columns, ranking), held, page)
    return _judge("lists", columns, rules, values)


def _filled(pair: Pair, rules: Rules) -> list[str]:
    """Columns with at least one value on both sides."""

    def empty(values: pd.Series) -> bool:
        return bool((values.isna() | (values == MISSING)).all())

    return [n for n in rules if not empty(pair.reference[n]) and not empty(pair.current[n])]


def _drift(column: str, rule: Rule) -> ValueDrift:
    return ValueDrift(column=column, method=rule.method, threshold=rule.alarm)


def _definition(columns: list[str], ranking: Recsys | None = None) -> DataDefinition:
    return DataDefinition(
        numerical_columns=[name for name in columns if name in NUMERICAL],
        categorical_columns=[name for name in columns if name not in NUMERICAL],
        ranking=[ranking] if ranking else None,
    )


def _run(
    table: str,
    metrics: list[Any],
    pair: Pair,
    definition: DataDefinition,
    extra: dict[str, Any],
    page: Path,
) -> list[float]:
    current = Dataset.from_pandas(pair.current, data_definition=definition)
    reference = Dataset.from_pandas(pair.reference, data_definition=definition)
    with np.errstate(invalid="ignore"):  # its Gini divides 0 by 0 if a single item is listed
        run = Report(metrics).run(current, reference, additional_data=extra)
    run.save_html(str(page))
    page.write_text(headed(_numbered(page.read_text()), table))
    # Evidently adds in the order of a set: the last digits differ from run to run.
    return [round(float(metric["value"]), 6) for metric in run.dict()["metrics"]]


def _numbered(text: str) -> str:
    """Replace the random ids of a report by numbers, so that equal input gives equal bytes."""
    ids = dict.fromkeys(
        re.findall(r"(?<=metric_)[0-9a-f]{32}\b", text)
        + re.findall(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", text)
    )
    for number, found in enumerate(ids):
        text = text.replace(found, f"{number:0{len(found)}}")
    return text


def _judge(table: str, columns: list[str], rules: Rules, values: list[float]) -> list[Drifted]:
    return [
        Drifted(
            table, name, rules[name].method, value, rules[name].alarm, value >= rules[name].alarm
        )
        for name, value in zip(columns, values, strict=False)
    ]
