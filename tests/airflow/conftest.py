import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def _asker(probe, airflow_home):
    def about(question=None, **environment):
        done = subprocess.run(
            [sys.executable, str(HERE / probe)],
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


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory):
    return tmp_path_factory.mktemp("airflow")


@pytest.fixture(scope="session")
def ask(airflow_home):
    """Ask the DAG of the pipeline, loaded in another process, about forms and runs."""
    return _asker("dag_probe.py", airflow_home)


@pytest.fixture(scope="session")
def ask_acts(airflow_home):
    """Ask the DAGs of the acts, loaded in another process, to do what they do."""
    return _asker("acts_probe.py", airflow_home)
