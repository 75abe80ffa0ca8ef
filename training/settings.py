"""Settings that every stage has. All of them change the result unless marked neutral."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from validation.schemas import Frozen

Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class LoraSettings(Frozen):
    """Low-rank adapters (Hu et al. 2021): rank, scale `alpha / r`, dropout, where they sit.

    `all-linear` is every linear layer but the output head.
    """

    r: PositiveInt = 8
    alpha: PositiveFloat = 16.0
    dropout: Share = 0.0
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"


class StageSettings(Frozen):
    """What a stage is trained with.

    The learning rate rises over `warmup_share` of the steps, then follows `schedule`.
    `max_steps` ends training earlier than `epochs` would. A step holds
    `batch_size * gradient_accumulation` rows. One row at a time suits a CPU: no padding, and
    less than half the memory of four (2.4 against 5.4 GB); a GPU wants more at once.
    Rows longer than `max_length_tokens` are left out and reported, never cut.

    `threads` is keyed: sums of floats depend on it in their last bits.
    """

    seed: NonNegativeInt = 0
    learning_rate: PositiveFloat
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    warmup_share: Share = 0.1
    epochs: PositiveInt = 1
    max_steps: PositiveInt | None = None
    batch_size: PositiveInt = 1
    gradient_accumulation: PositiveInt = 4
    max_length_tokens: PositiveInt = 1024
    max_gradient_norm: PositiveFloat = 1.0
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    lora: LoraSettings = LoraSettings()
    gradient_checkpointing: bool = False
    validation_rows: NonNegativeInt = 8
    samples: NonNegativeInt = 3
    sample_tokens: PositiveInt = 40
    threads: PositiveInt = 2
    save_every_steps: PositiveInt = Field(10, json_schema_extra={"result_neutral": True})

    @model_validator(mode="after")
    def _lora_targets_named(self) -> Self:
        if not self.lora.target_modules:
            raise ValueError("lora.target_modules is empty: name modules, or write 'all-linear'")
        return self
