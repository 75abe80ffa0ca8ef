"""What a flow is asked for: a profile, changes to it, and a place. The form in Prefect's UI.

Each is a parameter of its own and small, because `prefect deployment run -p name=…` replaces
a parameter whole: nothing that a deployment sets elsewhere is lost with it.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue, NonNegativeFloat


class Changes(BaseModel):
    """Changes to the profile; what is left out stays as the profile says.

    `overrides`: dotted names and values, such as {"dpo.beta": 0.2}.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str | None = None
    budget_usd: NonNegativeFloat | None = None
    data_files: tuple[str, ...] = ()
    generate: bool = True
    overrides: dict[str, JsonValue] = Field(default_factory=dict)


class Place(BaseModel):
    """Where the store and the journal are, and which file declares the endpoints."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Path(".medfactory")
    endpoints_file: Path | None = None
