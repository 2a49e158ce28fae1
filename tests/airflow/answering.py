"""Import Airflow once, and let a fork answer each question: to import it takes seconds.

A line of standard input names the probe, what it is asked and the environment it is asked in; what
it prints goes to standard output, and then a line with its exit code.  Nothing of ours is imported
before the fork: the DAGs read the environment as they are loaded.
"""

import io
import json
import os
import runpy
import sys
import traceback
from pathlib import Path

import airflow.providers.standard.operators.bash
import airflow.providers.standard.operators.hitl
import airflow.providers.standard.operators.trigger_dagrun
import airflow.providers.standard.sensors.python
import airflow.sdk
import airflow.serialization.encoders  # noqa: F401


def answer(probe, question, environment):
    """Run a probe as if it had been started by itself, and end."""
    code = 1
    try:
        os.environ.update(environment)
        sys.stdin = io.StringIO(json.dumps(question))
        runpy.run_path(str(Path(__file__).with_name(probe)), run_name="__main__")
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


for line in sys.stdin:
    if (child := os.fork()) == 0:
        answer(**json.loads(line))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.stdout.write(f"CODE {code}\n")
    sys.stdout.flush()
