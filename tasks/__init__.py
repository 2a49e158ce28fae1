"""Verbs that the DAGs speak: run_lock, stage, publish, approve, act, watch, assets, report."""
