"""Verbs that the DAGs speak: form, schedule, run_lock, stage, publish, approve, act, report."""
