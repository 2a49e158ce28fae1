"""Verbs that the DAGs speak: form, schedule, turn, stage, publish, approve, act, report."""
