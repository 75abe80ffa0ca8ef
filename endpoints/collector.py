"""Python's collector of cycles, kept from running while thousands of requests are in flight."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Measured November 2026 with 2,048 requests in flight: the collector took 0.33 of 0.88 ms of CPU
# a call, with this threshold 0.01. What it lets lie in between is a few megabytes.
THRESHOLDS = (20_000, 10, 20)


@contextmanager
def rare_collections() -> Iterator[None]:
    """Collect rarely, and never what is loaded already. For the whole process: enter it once."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
