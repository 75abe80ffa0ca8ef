"""Measuring models: benchmarks, statistics, comparisons, and the report that people read.

Imports `engines`, `judging`, `validation`, `endpoints` and `artifacts` alone.
Begin at `evaluate.py` (one model), then `comparison.py` (several) and `report.py`.
"""
