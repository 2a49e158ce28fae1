"""Stages run in order: dvc.yaml, the runner, the main job, and tasks of a DAG."""
