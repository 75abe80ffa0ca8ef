"""Judging what was said: rubrics of named criteria, each with a score and a reason.

May import endpoints, validation and artifacts; never datagen, training or evaluation.
Begin at `rubric.py`, then `doctor_turn.py`.
"""
