"""Thin Prefect tasks around the packages' steps: retries, tags, progress, artifacts in the UI.

May import the pure packages; knows when and where a step runs, never how.
Begin at `steps.py`; `child.py` runs training and evaluation in processes of their own.
"""
