"""What happens at each step: metrics are written, alarms watched, checkpoints marked."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifacts.progress import Progress, ProgressSink
from training.errors import Diverged
from training.resume import PREFIX, append_line, mark_complete, read_lines, rewrite_lines

if TYPE_CHECKING:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

# Counted by us (tokens), or of the trainer's own plan of one long epoch.
DROPPED = ("epoch", "num_tokens")


class MetricsFile:
    """A JSONL file of one line a step, from which a resumed run removes what it does again."""

    def __init__(self, path: Path, done_steps: int) -> None:
        self.path = path
        rewrite_lines(path, [line for line in self.lines() if line["step"] <= done_steps])

    def lines(self) -> list[dict[str, Any]]:
        """The metrics so far, oldest first."""
        return read_lines(self.path)

    def append(self, line: dict[str, Any]) -> None:
        """Write one line."""
        append_line(self.path, line)


def check_loss(step: int, loss: float, gradient_norm: float | None) -> None:
    """Raise Diverged for numbers that no sound training gives."""
    if not math.isfinite(loss) or (gradient_norm is not None and not math.isfinite(gradient_norm)):
        raise Diverged(
            f"step {step}: the loss is {loss} and its gradient's norm {gradient_norm}. Lower "
            "learning_rate (a tenth is a good start) or look for odd rows in the data"
        )
    if loss == 0.0:
        raise Diverged(
            f"step {step}: the loss is exactly 0, so nothing is being learnt: no token is marked "
            "for training, or the data repeats what the model already says. Look at the rows"
        )


def step_callback(
    metrics: MetricsFile,
    timing: Path,
    tokens: Sequence[int],
    fingerprint: str,
    progress: ProgressSink,
    stage: str,
) -> "TrainerCallback":
    """The callback of a run. `tokens`: those seen after each step; times go to `timing`."""
    from transformers import TrainerCallback

    class StepCallback(TrainerCallback):
        """Writes, watches and marks; the trainer calls it."""

        started = time.monotonic()

        def on_log(
            self,
            args: "TrainingArguments",
            state: "TrainerState",
            control: "TrainerControl",
            logs: dict[str, float],
            **_: object,
        ) -> None:
            """Called after each step, and once at the end with no loss."""
            if "loss" not in logs:
                return
            step = state.global_step
            check_loss(step, logs["loss"], logs.get("grad_norm"))
            kept = {k: v for k, v in logs.items() if k not in DROPPED}
            metrics.append({"step": step, "tokens": tokens[step - 1], **kept})
            seconds = round(time.monotonic() - self.started, 3)
            append_line(timing, {"step": step, "seconds": seconds})
            note = f"{stage}: loss {logs['loss']:.3f}"
            progress(Progress(done=step, total=len(tokens), unit="steps", note=note))

        def on_save(
            self,
            args: "TrainingArguments",
            state: "TrainerState",
            control: "TrainerControl",
            **_: object,
        ) -> None:
            """Called when a checkpoint's files are written."""
            mark_complete(Path(args.output_dir) / f"{PREFIX}{state.global_step}", fingerprint)

    return StepCallback()
