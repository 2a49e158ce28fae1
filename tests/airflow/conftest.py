import json
import os
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def _asker(probe, process):
    def about(question=None, **environment):
        asked = {"probe": probe, "question": question or {}, "environment": environment}
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        printed = list(takewhile(lambda line: not line.startswith("CODE "), process.stdout))
        lines = [line for line in printed if line.startswith("ANSWER ")]
        assert lines, "".join(printed)[-2000:]
        return json.loads(lines[0].removeprefix("ANSWER "))

    return about


@pytest.fixture(scope="session")
def airflow(tmp_path_factory):
    """Process that has Airflow imported and answers questions about our DAGs."""
    with subprocess.Popen(
        [sys.executable, str(HERE / "answering.py")],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow"))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture(scope="session")
def ask(airflow):
    """Ask the DAG of the pipeline, loaded in another process, about forms and runs."""
    return _asker("dag_probe.py", airflow)


@pytest.fixture(scope="session")
def ask_acts(airflow):
    """Ask the DAGs of the acts, loaded in another process, to do what they do."""
    return _asker("acts_probe.py", airflow)


@pytest.fixture(scope="session")
def asker():
    """Make what asks a probe."""
    return _asker
