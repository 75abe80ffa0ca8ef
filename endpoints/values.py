"""What the settings and requests of this package are made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

NonBlank = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]


class Frozen(BaseModel):
    """A value: immutable, and closed to fields it does not declare."""

    model_config = ConfigDict(frozen=True, extra="forbid")
