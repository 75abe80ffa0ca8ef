"""What can go wrong in the store."""


class StoreError(Exception):
    """Base of the store's errors."""


class DamagedArtifact(StoreError):
    """A published artifact lacks a file, or holds one that its manifest does not describe."""


class RowsLost(StoreError):
    """A step's counts do not add up: rows in are not accepted + quarantined."""


class NoSpace(StoreError):
    """The disk that holds the store is full."""


class UnknownArtifact(StoreError):
    """No artifact has the key or key prefix that was asked for."""
