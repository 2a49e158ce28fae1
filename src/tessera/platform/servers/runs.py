"""Trigger a run of the pipeline over Airflow's REST interface, and tell how it goes."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tessera.contracts.errors import TesseraError
from tessera.contracts.library_errors import first_line

DAG = "/api/v2/dags/tessera_pipeline"
_POLL_S = 2.0
_PATIENCE_S = 180.0
_ENDED = ("success", "failed")


@dataclass(slots=True)
class Airflow:
    """A running Airflow, asked by a person."""

    port: int
    token: str = ""
    told: dict[str, str] = field(default_factory=dict)
    """What was said of each task last."""

    def log_in(self, name: str, password: str) -> None:
        """Get a token that further questions carry."""
        self.token = self.ask("/auth/token", {"username": name, "password": password})[
            "access_token"
        ]

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask (GET), or tell (POST) something; return the answer.

        Raises
        ------
        TesseraError
            If the answer is a refusal, or there is none.
        """
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return dict(json.loads(answer.read()))
        except (OSError, urllib.error.URLError, ValueError) as error:
            raise TesseraError(f"Airflow at {path}: {first_line(error)}: see its log") from error

    def knows_pipeline(self) -> bool:
        """Whether the DAG was read."""
        try:
            return bool(self.ask(DAG))
        except TesseraError:
            return False

    def trigger(self, form: Mapping[str, Any]) -> str:
        """Start a run with the answers of a form; return its name."""
        return str(self.ask(f"{DAG}/dagRuns", {"logical_date": None, "conf": form})["dag_run_id"])

    def follow(self, run: str, meanwhile: Callable[[], None], say: Callable[[str], None]) -> str:
        """Say each change until the run has ended; return how it ended."""
        path = f"{DAG}/dagRuns/{quote(run, safe='')}"
        answered = time.monotonic()
        while True:
            meanwhile()
            try:
                state = str(self.ask(path)["state"])
                for one in self.tasks(run):
                    self._tell(one, say)
                if state in _ENDED:
                    return state
                answered = time.monotonic()
            except TesseraError:  # a machine that is busy with stages may keep it waiting
                if time.monotonic() - answered > _PATIENCE_S:
                    raise
            time.sleep(_POLL_S)

    def tasks(self, run: str) -> list[dict[str, Any]]:
        """Return what is known of each task of a run."""
        path = f"{DAG}/dagRuns/{quote(run, safe='')}/taskInstances"
        return list(self.ask(path)["task_instances"])

    def _tell(self, task: Mapping[str, Any], say: Callable[[str], None]) -> None:
        name, state = str(task["task_id"]), str(task["state"])
        said = f"{state}, try {task['try_number']}"
        if state in ("None", "scheduled", "queued") or self.told.get(name) == said:
            return
        self.told[name] = said
        took = f" after {task['duration']:.0f} s" if task.get("duration") else ""
        say(f"  {name}: {said}{took}")
