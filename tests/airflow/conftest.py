import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROBE = Path(__file__).with_name("dag_probe.py")


@pytest.fixture(scope="session")
def ask(tmp_path_factory):
    """Ask the DAG, loaded in another process, about forms and runs."""
    airflow_home = tmp_path_factory.mktemp("airflow")

    def about(question=None, **environment):
        done = subprocess.run(
            [sys.executable, str(PROBE)],
            input=json.dumps(question or {}),
            env={**os.environ, "AIRFLOW_HOME": str(airflow_home), **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        line = next(line for line in done.stdout.splitlines() if line.startswith("ANSWER "))
        return json.loads(line.removeprefix("ANSWER "))

    return about
