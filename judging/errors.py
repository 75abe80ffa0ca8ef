"""What can go wrong in judging."""


class JudgingError(Exception):
    """Base of the errors of this package."""


class EmptyRubric(JudgingError):
    """A judgement without a criterion that carries weight says nothing."""
