"""The data contract: records, checks, duplicates, splits, and the data set that is trained on.

May import `artifacts` alone; knows nothing of who made a row or which model learns from it.
Begin at `schemas.py` (the records), then `dataset.py` (`build_dataset`).
"""
