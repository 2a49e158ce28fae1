"""Verbs that the DAGs speak: form, snapshot, stage, publish, report."""
