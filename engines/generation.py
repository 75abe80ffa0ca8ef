"""Generation: a model's replies to talks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from engines.chat import ChatMessage, encode_prompt, stop_ids
from engines.errors import ChatError
from validation.schemas import Frozen

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Sampling(Frozen):
    """How replies are drawn; temperature 0 takes the most probable token each time."""

    max_new_tokens: Annotated[int, Field(gt=0)] = 40
    temperature: Annotated[float, Field(ge=0.0)] = 0.0
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    seed: int = 0


def reply(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    talks: Sequence[Sequence[ChatMessage]],
    sampling: Sampling | None = None,
) -> list[str]:
    """The assistant's next message in each talk, all written as one batch.

    Equal seeds give equal replies; the caller's random state stays as it was.
    Raises ChatError for a talk that ends with the assistant.
    """
    import torch

    if not talks:
        return []
    for talk in talks:
        if talk[-1]["role"] == "assistant":
            raise ChatError("the talk ends with the assistant: there is nothing to reply to")
    sampling = sampling or Sampling()
    prompts = [encode_prompt(tokenizer, talk) for talk in talks]
    longest = max(map(len, prompts))
    # Padded on the left, so that every reply begins at the same position.
    missing = [longest - len(p) for p in prompts]
    pad = tokenizer.pad_token_id
    ids = [[pad] * m + list(p) for m, p in zip(missing, prompts, strict=True)]
    mask = [[0] * m + [1] * len(p) for m, p in zip(missing, prompts, strict=True)]
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.inference_mode():
        torch.manual_seed(sampling.seed)
        written = model.generate(
            input_ids=torch.tensor(ids, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            **_options(sampling, tokenizer),
        )
    return [tokenizer.decode(row[longest:], skip_special_tokens=True).strip() for row in written]


def _options(sampling: Sampling, tokenizer: "PreTrainedTokenizerBase") -> dict[str, object]:
    options: dict[str, object] = {
        "max_new_tokens": sampling.max_new_tokens,
        "do_sample": sampling.temperature > 0,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": stop_ids(tokenizer) or None,
    }
    if sampling.temperature > 0:
        options |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    return options
