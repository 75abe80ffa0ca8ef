"""`train`: what every stage shares, from a data set and a model to a checkpoint.

To add a stage: one file with its settings and its recipe, one line in `AnyStage`, one in
`RECIPES`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, TypeAdapter

from artifacts.digest import digest_json
from artifacts.progress import Progress
from artifacts.step import Built, Workspace, keyed_settings
from artifacts.store import write_atomically
from engines.chat import check_tokenizer
from engines.loading import load_model, load_tokenizer
from training import dpo, sft
from training.callbacks import MetricsFile, step_callback
from training.checkpoint import Link, StageReport, adapter_of, read_chain, save_adapter
from training.data import (
    Example,
    Row,
    encode_rows,
    read_rows,
    refuse_all_left_out,
    refuse_empty,
    spread,
    to_dataset,
)
from training.errors import WrongInput
from training.lora import lora_config, refuse_wrong_targets
from training.order import row_order, step_count, tokens_by_step
from training.outputs import (
    Look,
    built,
    clear_folder,
    sample_replies,
    write_samples,
    write_stage,
)
from training.recipe import Measure, Recipe, TrainerParts, common_arguments, quieten
from training.resume import newest_complete, step_of
from validation.schemas import Frozen, Quarantined

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer

STEP_VERSION = 2
AnyStage = Annotated[sft.SFT | dpo.DPO, Field(discriminator="stage")]
STAGE: TypeAdapter[AnyStage] = TypeAdapter(AnyStage)
CHECKPOINT = "checkpoint_"
RECIPES: dict[str, Recipe] = {"sft": sft.RECIPE, "dpo": dpo.RECIPE}


class StageInputs(Frozen):
    """Folders of the artifacts that a stage reads.

    `checkpoints`: those of the stages before, in their order; their adapters are merged into
    the model before a new one is trained.
    """

    model: Path
    dataset: Path
    checkpoints: tuple[Path, ...] = ()

    @classmethod
    def of(cls, inputs: Mapping[str, Path]) -> "StageInputs":
        """From a step's inputs: `model`, `dataset`, and `checkpoint_0`, `checkpoint_1`, …, if any.

        Raises WrongInput where one is missing.
        """
        names = sorted((n for n in inputs if n.startswith(CHECKPOINT)), key=lambda n: (len(n), n))
        if missing := [n for n in ("model", "dataset") if n not in inputs]:
            raise WrongInput(f"a stage needs the inputs model and dataset; {missing} not given")
        return cls(
            model=inputs["model"],
            dataset=inputs["dataset"],
            checkpoints=tuple(inputs[name] for name in names),
        )


@dataclass(frozen=True)
class Rows:
    """A data set's rows as one stage sees them; `validation` is what it measures on."""

    train: list[Example]
    validation: list[Example]
    left_out: list[Quarantined]
    validation_left_out: list[Quarantined]


@dataclass(frozen=True)
class Run:
    """One stage under way: all that decides its result, and where it keeps its state."""

    stage: AnyStage
    recipe: Recipe
    rows: Rows
    order: list[int]
    chain: tuple[Link, ...]
    workspace: Workspace

    @property
    def fingerprint(self) -> str:
        """Digest of settings, earlier adapters and rows: checkpoints of another are no use."""
        ids = [e.record_id for e in (*self.rows.train, *self.rows.validation)]
        adapters = [link.adapter_digest for link in self.chain]
        settings = digest_json(keyed_settings(self.stage))
        return digest_json([settings, len(self.rows.train), *adapters, *ids])

    @property
    def state(self) -> Path:
        """The folder that a later attempt goes on from."""
        return self.workspace.state / f"{self.stage.stage}-{self.fingerprint[:16]}"

    @property
    def samples(self) -> list[Example]:
        """The examples whose prompts are answered before and after: held out, if there are any."""
        return spread(self.rows.validation or self.rows.train, self.stage.samples)

    @property
    def rows_a_step(self) -> int:
        """Rows behind one change of the weights."""
        return self.stage.batch_size * self.stage.gradient_accumulation

    def say(self, note: str) -> None:
        """Report what is being done, between the steps."""
        note = f"{self.stage.stage}: {note}"
        self.workspace.progress(Progress(done=0, total=0, unit="steps", note=note))


def build_stage(stage: AnyStage, workspace: Workspace) -> Built:
    """`train` as a step: the inputs are those of the workspace."""
    return train(stage, StageInputs.of(workspace.inputs), workspace)


def train(stage: AnyStage, inputs: StageInputs, workspace: Workspace) -> Built:
    """Train one stage and write its checkpoint artifact into `workspace.out`.

    A killed run goes on from its newest complete checkpoint in `workspace.state`, on a CPU
    to the same bits. Raises TrainingError and EngineError, each saying what to do.
    """
    import torch

    torch.set_num_threads(stage.threads)
    tokenizer, rows = _read(stage, inputs)
    run = Run(
        stage=stage,
        recipe=RECIPES[stage.stage],
        rows=rows,
        order=_order(stage, rows.train),
        chain=read_chain(inputs.checkpoints),
        workspace=workspace,
    )
    run.state.mkdir(parents=True, exist_ok=True)
    run.say("loading the model")
    model = load_model(inputs.model / "model", [adapter_of(c) for c in inputs.checkpoints])
    refuse_wrong_targets(model, stage)
    run.say("reading the rows with the model as it is")
    ordered, held_out = _prepare(run, model)
    before = _before(run, model, tokenizer, held_out)
    trainer, metrics = _fit(run, model, tokenizer, ordered)
    run.say("measuring and sampling")
    after = _look(run, trainer.model.eval(), tokenizer, held_out, run.recipe.after)
    return _publish(run, trainer.model, metrics, before, after)


def _read(stage: AnyStage, inputs: StageInputs) -> "tuple[PreTrainedTokenizerBase, Rows]":
    """Everything that can be wrong with the data is found here, before a model is loaded."""
    recipe = RECIPES[stage.stage]
    raw = read_rows(inputs.dataset, recipe.view, "train", recipe.columns)
    refuse_empty(raw, inputs.dataset, recipe.view)
    tokenizer = load_tokenizer(inputs.model / "model")
    check_tokenizer(tokenizer)

    def encode(rows: list[Row], split: str) -> tuple[list[Example], list[Quarantined]]:
        origin = f"{recipe.view}/{split}.parquet"
        limit = stage.max_length_tokens
        return encode_rows(rows, lambda row: recipe.encode(tokenizer, row), limit, origin)

    kept, left = encode(raw, "train")
    refuse_all_left_out(kept, left)
    held_out = read_rows(inputs.dataset, recipe.view, "validation", recipe.columns)
    validation, validation_left = encode(held_out, "validation")
    return tokenizer, Rows(kept, spread(validation, stage.validation_rows), left, validation_left)


def _order(stage: AnyStage, examples: list[Example]) -> list[int]:
    """Row numbers in training order, as far as training goes."""
    lengths = [example.tokens for example in examples]
    order = row_order(lengths, stage.batch_size, stage.epochs, stage.seed)
    if stage.max_steps is None:
        return order
    return order[: stage.max_steps * stage.batch_size * stage.gradient_accumulation]


def _prepare(run: Run, model: "PreTrainedModel") -> tuple[list[Example], list[Example]]:
    """Rows in training order, and held-out rows, with what only the untouched model can tell."""
    used = sorted(set(run.order))
    every = [*(run.rows.train[row] for row in used), *run.rows.validation]
    file = run.state / "prepared.jsonl"
    prepared = run.recipe.prepare(model, every, file, run.workspace.progress)
    by_row = dict(zip(used, prepared, strict=False))
    return [by_row[row] for row in run.order], prepared[len(used) :]


def _look(
    run: Run,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    held_out: list[Example],
    measure: Measure,
) -> Look:
    replies = sample_replies(model, tokenizer, run.samples, run.stage.sample_tokens)
    return Look(validation=measure(run.stage, model, held_out), replies=replies)


def _before(
    run: Run,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    held_out: list[Example],
) -> Look:
    """The model before training; a later attempt reads what the first one saw."""
    file = run.state / "before.json"
    if file.is_file():
        return Look(**json.loads(file.read_text(encoding="utf-8")))
    look = _look(run, model, tokenizer, held_out, run.recipe.before)
    write_atomically(file, json.dumps(asdict(look)))
    return look


def _fit(
    run: Run,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    ordered: list[Example],
) -> "tuple[Trainer, MetricsFile]":
    """Train from the newest complete checkpoint, or from the start."""
    checkpoints = run.state / "checkpoints"
    resumed = newest_complete(checkpoints, run.fingerprint)
    metrics = MetricsFile(run.state / "metrics.jsonl", step_of(resumed) if resumed else 0)
    steps = step_count(len(ordered), run.rows_a_step)
    callback = step_callback(
        metrics,
        run.state / "timing.jsonl",
        tokens_by_step([e.tokens for e in ordered], run.rows_a_step, steps),
        run.fingerprint,
        run.workspace.progress,
        run.stage.stage,
    )
    parts = TrainerParts(
        model=model,
        tokenizer=tokenizer,
        rows=to_dataset(ordered),
        lora=lora_config(run.stage),
        arguments=common_arguments(run.stage, steps, checkpoints),
        callbacks=[callback],
    )
    trainer = run.recipe.trainer(run.stage, parts)
    quieten(trainer)
    trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    return trainer, metrics


def _publish(
    run: Run, model: "PeftModel", metrics: MetricsFile, before: Look, after: Look
) -> Built:
    """Write the checkpoint artifact; what a killed attempt left in its folder goes first."""
    out = run.workspace.out
    clear_folder(out)
    digest = save_adapter(model, adapter_of(out))
    lines = metrics.lines()
    report = StageReport(
        stage=run.stage.stage,
        settings=keyed_settings(run.stage),
        chain=(*run.chain, Link(stage=run.stage.stage, adapter_digest=digest)),
        rows_accepted=len(run.rows.train),
        rows_left_out=len(run.rows.left_out),
        validation_left_out=len(run.rows.validation_left_out),
        rows_used=len(set(run.order)),
        steps=lines[-1]["step"],
        tokens=lines[-1]["tokens"],
        first_loss=lines[0]["loss"],
        last_loss=lines[-1]["loss"],
        validation_before=before.validation,
        validation_after=after.validation,
        trained_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
    )
    write_samples(out / "samples.jsonl", run.samples, before, after)
    left_out = [*run.rows.left_out, *run.rows.validation_left_out]
    write_stage(out, report, left_out, metrics.path, run.state / "timing.jsonl")
    return built(report, out / "samples.jsonl")
