"""The store: where every step puts its output, once, under the digest of what made it.

Imports nothing of this project; everything else may import it.
Begin at `step.py` (`ensure`), then `store.py` and `manifest.py`.
"""
