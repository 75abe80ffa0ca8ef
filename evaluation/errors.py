"""What can go wrong when a model is evaluated or a report is written."""


class EvaluationError(Exception):
    """Base of the evaluation's errors."""


class QuestionError(EvaluationError):
    """A file of choice questions is not as it must be."""


class MissingInput(EvaluationError):
    """An input lacks a file that the evaluation or the report needs."""


class EmptyBenchmark(EvaluationError):
    """A benchmark has no item to measure: there is no figure, and 0.0 would be a lie."""


class MismatchedItems(EvaluationError):
    """Two evaluations that should be compared did not see the same items."""


class NotEnoughData(EvaluationError):
    """A statistic was asked for on too few values to have one."""
