"""Chat templates: how a talk becomes tokens, the same for training, scoring and serving.

What the assistant says is found by prefix difference: the text of `messages[:i]` with a
generation prompt against the text of `messages[:i + 1]`. So any template can be trained
on, marked with `{% generation %}` or not, and the tokens before a reply are those which
the model sees when it has to write one. Pieces are tokenised one by one for that reason.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engines.errors import ChatError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ChatMessage = Mapping[str, str]
"""A message as plain data: `role` and `content`."""

PROBE: tuple[ChatMessage, ...] = (
    {"role": "user", "content": "Where does it hurt?"},
    {"role": "assistant", "content": "Here, on the left."},
    {"role": "user", "content": "Since when?"},
    {"role": "assistant", "content": "Since Monday."},
)


@dataclass(frozen=True)
class Tokens:
    """A rendered talk of T tokens; `spoken` marks those that the assistant has to learn.

    ids, spoken: (T,). Spoken are the content of each assistant message and the token that
    ends its turn, not the header before it nor the line break after it.
    """

    ids: tuple[int, ...]
    spoken: tuple[bool, ...]

    @property
    def labels(self) -> list[int]:
        """(T,) the ids where spoken, -100 elsewhere, as losses ignore it."""
        return [i if said else -100 for i, said in zip(self.ids, self.spoken, strict=True)]


def render(
    tokenizer: "PreTrainedTokenizerBase",
    messages: Sequence[ChatMessage],
    generation_prompt: bool = False,
) -> str:
    """The text of a talk by the tokenizer's own template.

    `generation_prompt`: end with the header of the assistant's next message.
    Raises ChatError where the tokenizer has no template or its template refuses the talk, and
    for a message that calls tools.
    """
    from jinja2 import TemplateError

    if not getattr(tokenizer, "chat_template", None):
        raise ChatError(
            "the tokenizer has no chat template: take an instruct model, or put a "
            "chat_template.jinja beside its tokenizer.json"
        )
    if any(m.get("tool_calls") for m in messages):
        raise ChatError("a message calls tools, which cannot be rendered yet: leave the talk out")
    plain = [{"role": m["role"], "content": m["content"]} for m in messages]
    try:
        text: str = tokenizer.apply_chat_template(
            plain, tokenize=False, add_generation_prompt=generation_prompt
        )
    except TemplateError as error:
        roles = [m["role"] for m in messages]
        raise ChatError(
            f"the chat template refuses a talk of the roles {roles}: {error}"
        ) from error
    return text


def encode_text(tokenizer: "PreTrainedTokenizerBase", text: str) -> tuple[int, ...]:
    """Tokens of a text as it stands: nothing is put before or after it."""
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def encode_prompt(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[ChatMessage]
) -> tuple[int, ...]:
    """Tokens after which the assistant's next message begins."""
    return tuple(encode_talk(tokenizer, messages, generation_prompt=True).ids)


def encode_answer(
    tokenizer: "PreTrainedTokenizerBase", prompt: Sequence[ChatMessage], answer: ChatMessage
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Tokens of a prompt and of the assistant's answer to it, with the end of its turn.

    Raises ChatError where the answer is not the assistant's or the template is inconsistent.
    """
    if answer["role"] != "assistant":
        raise ChatError(f"an answer must be the assistant's, not the {answer['role']}'s")
    prompt_ids = encode_prompt(tokenizer, prompt)
    tokens = encode_talk(tokenizer, [*prompt, answer])
    end = max(i for i, said in enumerate(tokens.spoken) if said) + 1
    return prompt_ids, tokens.ids[len(prompt_ids) : end]


def encode_talk(
    tokenizer: "PreTrainedTokenizerBase",
    messages: Sequence[ChatMessage],
    generation_prompt: bool = False,
) -> Tokens:
    """Tokens of a talk, with a mark on what the assistant says.

    Raises ChatError where the template renders the start of a talk differently once it
    goes on (then nobody can say which tokens are the assistant's), and for a message that
    holds a control token of the template, which could pose as another's turn.
    """
    control = control_tokens(tokenizer)
    _refuse_control_tokens(control, messages)
    ids: list[int] = []
    spoken: list[bool] = []
    done = ""
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        if index == 0:
            raise ChatError("a talk cannot begin with the assistant: put a user message before it")
        before = render(tokenizer, messages[:index], generation_prompt=True)
        after = render(tokenizer, messages[: index + 1])
        heard = encode_text(tokenizer, _beyond(before, done, index))
        said = encode_text(tokenizer, _beyond(after, before, index))
        ids += [*heard, *said]
        spoken += [False] * len(heard) + _until_end_of_turn(set(control.values()), said)
        done = after
    rest = encode_text(
        tokenizer, _beyond(render(tokenizer, messages, generation_prompt), done, len(messages))
    )
    return Tokens(ids=(*ids, *rest), spoken=(*spoken, *[False] * len(rest)))


def check_tokenizer(tokenizer: "PreTrainedTokenizerBase") -> None:
    """Refuse a tokenizer whose talks cannot be masked, before any training.

    Raises ChatError for: no template, a template that is not prefix-consistent or leaves
    out the end of a turn, a tokenizer that cannot be split at the turns.
    """
    tokens = encode_talk(tokenizer, PROBE)
    whole = encode_text(tokenizer, render(tokenizer, PROBE))
    if tokens.ids != whole:
        raise ChatError(
            "this tokenizer cuts a talk differently when its turns are tokenised one by one, so "
            "what the assistant says cannot be marked: take its fast (tokenizers) version or "
            "another model"
        )
    if not _ends_of_turns(tokens) <= set(control_tokens(tokenizer).values()):
        raise ChatError(
            f"the chat template does not end the assistant's turn with {tokenizer.eos_token!r} or "
            "another special token, so a model trained on it would never learn to stop: set "
            "eos_token to the token that ends a turn"
        )


def control_tokens(tokenizer: "PreTrainedTokenizerBase") -> dict[str, int]:
    """Ids of the special tokens by their text: those that have a name, and those only marked so.

    Many tokenizers name a few of them (`eos_token`), and mark the others in their vocabulary.
    """
    named = zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)
    added = tokenizer.added_tokens_decoder.items()
    return {**dict(named), **{token.content: i for i, token in added if token.special}}


def stop_ids(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Tokens after which a reply is over: the end of a turn in the template, and `eos_token`."""
    ends = _ends_of_turns(encode_talk(tokenizer, PROBE))
    known = ends & set(control_tokens(tokenizer).values())
    return sorted(known | ({tokenizer.eos_token_id} - {None}))


def _ends_of_turns(tokens: Tokens) -> set[int]:
    """The last spoken token of each turn."""
    following = [*tokens.spoken[1:], False]
    turns = zip(tokens.ids, tokens.spoken, following, strict=True)
    return {i for i, said, goes_on in turns if said and not goes_on}


def _refuse_control_tokens(tokens: Iterable[str], messages: Sequence[ChatMessage]) -> None:
    for index, message in enumerate(messages):
        for token in tokens:
            if token in message["content"]:
                raise ChatError(
                    f"message {index} ({message['role']}) holds the control token {token!r} as text"
                )


def _beyond(longer: str, shorter: str, index: int) -> str:
    if not longer.startswith(shorter):
        raise ChatError(
            f"the chat template is not prefix-consistent: message {index} changes the text of "
            f"those before it (…{shorter[-40:]!r} is not how …{longer[:80]!r} begins), so the "
            "assistant's tokens cannot be told apart. Give the model a template that renders "
            "messages one after another"
        )
    return longer[len(shorter) :]


def _until_end_of_turn(special: set[int], said: tuple[int, ...]) -> list[bool]:
    """True up to and with the last special token; all True where there is none."""
    last = max((i for i, token in enumerate(said) if token in special), default=len(said) - 1)
    return [i <= last for i in range(len(said))]
