"""The checkpoint artifact: an adapter, and the chain of stages that it stands on."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue, ValidationError

from artifacts.digest import digest_file
from training.errors import WrongInput
from validation.schemas import Frozen

if TYPE_CHECKING:
    from peft import PeftModel

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


class Link(Frozen):
    """One stage of a chain: its name and the digest of its adapter's weights."""

    stage: str
    adapter_digest: str


class StageReport(Frozen):
    """`stage.json`: what was trained, on what chain, and how it went.

    `settings` are those that can change the result. `chain` ends with this stage.
    `rows_used` of the accepted ones were trained on (fewer where `max_steps` ended training).
    Losses are in nats.
    """

    stage: str
    settings: dict[str, JsonValue]
    chain: tuple[Link, ...]
    rows_accepted: int
    rows_left_out: int
    validation_left_out: int
    rows_used: int
    steps: int
    tokens: int
    first_loss: float
    last_loss: float
    validation_before: dict[str, float]
    validation_after: dict[str, float]
    trained_parameters: int


def read_report(checkpoint: Path) -> StageReport:
    """The `stage.json` of a checkpoint artifact.

    Raises WrongInput where the folder is no checkpoint.
    """
    try:
        return StageReport.model_validate_json((checkpoint / "stage.json").read_bytes())
    except (OSError, ValidationError) as error:
        raise WrongInput(f"{checkpoint} is no checkpoint of this project: {error}") from error


def read_chain(checkpoints: Sequence[Path]) -> tuple[Link, ...]:
    """The chain that these checkpoints make, in the order given.

    Raises WrongInput where an adapter was trained on another chain than those before it.
    """
    chain: tuple[Link, ...] = ()
    for checkpoint in checkpoints:
        report = read_report(checkpoint)
        own = Link(stage=report.stage, adapter_digest=digest_file(adapter_of(checkpoint) / WEIGHTS))
        if report.chain != (*chain, own):
            wanted = [link.stage for link in report.chain]
            raise WrongInput(
                f"{checkpoint} was trained as the end of the chain {wanted}, which is not "
                f"{[link.stage for link in (*chain, own)]} with these adapters: give the "
                "checkpoints of one chain, in the order in which they were trained"
            )
        chain = report.chain
    return chain


def adapter_of(checkpoint: Path) -> Path:
    """The PEFT folder of a checkpoint artifact."""
    return checkpoint / "adapter"


def save_adapter(model: "PeftModel", folder: Path) -> str:
    """Write an adapter with nothing in it that differs between equal runs; returns its digest.

    PEFT itself writes sets in random order, the path of the base, and a page of prose.
    """
    model.save_pretrained(folder, safe_serialization=True)
    path = folder / CONFIG
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = None
    config["target_modules"] = sorted(config["target_modules"])
    path.write_text(json.dumps(config, indent=1, sort_keys=True), encoding="utf-8")
    (folder / "README.md").unlink(missing_ok=True)
    return digest_file(folder / WEIGHTS)
