"""Running a model: chat templates, loading, log-likelihood, generation; for any text.

Imports `validation` (types), `endpoints` and `artifacts` alone; torch only inside functions.
Begin at `chat.py` (how talks become tokens), then `loading.py` and `loglikelihood.py`.
"""
