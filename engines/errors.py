"""What can go wrong when a model is read or run."""


class EngineError(Exception):
    """Base of the engines' errors."""


class ChatError(EngineError):
    """A talk cannot be rendered, or a chat template cannot be split into turns."""


class LoadError(EngineError):
    """A folder or file is no model, tokenizer or adapter that can be loaded."""
