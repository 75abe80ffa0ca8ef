"""Data beside the simulated talks: each file makes one kind of record on the same ground.

May import what `datagen` may import, and `datagen` itself.
Begin at `generator.py`, which says how to add one; `catalogue.py` lists them.
"""
