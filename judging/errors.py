"""What can go wrong in judging."""


class JudgingError(Exception):
    """Base of the errors of this package."""


class EmptyRubric(JudgingError):
    """A judgement without a criterion that carries weight says nothing."""


class UnknownVerifier(JudgingError):
    """A problem names a verifier that is not there, or one that cannot judge its answer."""


class RubricError(JudgingError):
    """A rubric's file cannot be used; the message names the file, the field and the remedy."""


class JudgePromptError(JudgingError):
    """A judge's prompt is absent, has no version, or asks for a value that nobody gives."""


class JudgeError(JudgingError):
    """The judges that were asked for cannot judge; the message says what to change."""


class NoFigure(JudgingError):
    """There is no data for a figure, or none that it could be told from."""
