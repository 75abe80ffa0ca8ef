"""What can go wrong in judging."""


class JudgingError(Exception):
    """Base of the errors of this package."""


class EmptyRubric(JudgingError):
    """A judgement without a criterion that carries weight says nothing."""


class UnknownVerifier(JudgingError):
    """A problem names a verifier that is not there, or one that cannot judge its answer."""
