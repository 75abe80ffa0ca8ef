"""What can go wrong with records and data sets as a whole.

A single bad row is never an error: it becomes a `Quarantined` record.
"""


class RecordError(Exception):
    """Base of the errors of this package."""


class MissingInput(RecordError):
    """A file that should be read is not there."""


class UnknownFormat(RecordError):
    """A file is of a format that is not read here, or cannot be read as what it claims to be."""


class ChangedFile(RecordError):
    """A file is not the one that the settings name by its digest."""


class EmptyDataset(RecordError):
    """No row of a kind passed; the message says which faults took how many."""


class ExpectationsFailed(RecordError):
    """A table breaks what must hold of it; the message names each expectation and the docs."""
