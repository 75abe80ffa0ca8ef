"""What can go wrong in training. Each message says what to do next."""


class TrainingError(Exception):
    """Base of training's errors."""


class EmptyData(TrainingError):
    """No row is left to train on."""


class WrongData(TrainingError):
    """A data set lacks what the stage needs, or holds rows of another type."""


class Diverged(TrainingError):
    """The loss became NaN, infinite or exactly zero: going on would waste the machine."""


class WrongInput(TrainingError):
    """A model, adapter or job file that training was given cannot be used."""
