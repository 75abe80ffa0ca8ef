"""Training: one file a stage (`sft.py`, `dpo.py`), and what all stages share.

Imports `engines`, `validation` and `artifacts`; never Prefect, nor how the data was made.
Begin at `stage.py` (`train`), then `sft.py`; `run.py` is the process that trains.
"""
