"""What can go wrong in making data. What goes wrong with one talk is a `Quarantined` row."""


class DatagenError(Exception):
    """Base of the errors of this package; `cases.CaseError` is one too."""


class PromptError(DatagenError):
    """A prompt file is absent, has no version, or asks for a value that nobody gives."""


class NothingToGenerate(DatagenError):
    """The settings leave no case, or no language that the endpoint can talk in."""


class DamagedInput(DatagenError):
    """The conversations' artifact lacks a file, or a talk's case."""


class PersonaError(DatagenError):
    """A file of personas cannot be read, or the settings leave no persona to draw."""


class NotesError(DatagenError):
    """A file of clinical notes is absent, or of a kind that is not read."""
