"""Verbs that the DAGs speak: form, run_lock, stage, publish, approve, act, watch, assets, report."""
