"""The records: every type that travels between steps, declared once.

All records are frozen, refuse unknown fields and carry a `record_id` that is the digest
of their content, so that the same content has the same name on every machine.
"""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    TypeAdapter,
    model_validator,
)
from pydantic_core import PydanticCustomError

from artifacts.digest import digest_json

Language = Literal["en", "zh"]
Role = Literal["system", "user", "assistant", "tool"]
NonBlank = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]
Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]

SCHEMA_VERSION = 1


class Frozen(BaseModel):
    """A value: immutable, and closed to fields it does not declare."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ToolCall(Frozen):
    """One call of a tool by the assistant; `arguments` is a JSON object."""

    name: NonBlank
    arguments: dict[str, JsonValue] = Field(default_factory=dict)


class Message(Frozen):
    """One message of a talk. The doctor is `assistant`, the patient `user`.

    `content` may be blank only where the assistant calls a tool instead of speaking.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()

    @model_validator(mode="after")
    def _said_or_called(self) -> Self:
        if self.tool_calls and self.role != "assistant":
            raise PydanticCustomError("bad_value", "only the assistant calls tools")
        if not self.tool_calls and not self.content.strip():
            raise PydanticCustomError("blank_content", "the message says nothing")
        return self


class Fault(Frozen):
    """What a check found: its name, a sentence for people, and the message it is about."""

    name: NonBlank
    detail: str = ""
    message_index: Int64 | None = None


class Remark(Frozen):
    """One thing that a critic found wrong; `serious` where it teaches harm or nonsense."""

    fault: NonBlank
    message_index: Int64 | None = None
    sentence: str = ""
    serious: bool = True


class Verdict(Frozen):
    """A critic's verdict on a whole talk: `score` from 0 (harmful) to 5 (a model of its kind)."""

    score: Annotated[int, Field(ge=0, le=5)]
    remarks: tuple[Remark, ...] = ()
    model: NonBlank


class Record(Frozen):
    """What every record carries.

    `record_id` is worked out from the content when absent, and checked when present. Fields in
    `ADDED_LATER` are no part of it while they hold their default, so that rows written before
    keep their name.
    """

    ADDED_LATER: ClassVar[frozenset[str]] = frozenset()

    record_id: str = ""
    language: Language
    source: NonBlank
    case_id: NonBlank
    license: NonBlank = "Apache-2.0"

    @model_validator(mode="after")
    def _named_by_content(self) -> Self:
        fields = type(self).model_fields
        unset = {n for n in self.ADDED_LATER if getattr(self, n) == fields[n].default}
        expected = digest_json(self.model_dump(mode="json", exclude={"record_id"} | unset))
        if self.record_id not in ("", expected):
            raise ValueError(
                f"record_id {self.record_id!r} does not name this content (expected "
                f"{expected!r}): the row was changed after it was written; leave "
                "record_id out to have it worked out"
            )
        object.__setattr__(self, "record_id", expected)
        return self


class Passage(Record):
    """A text for continued pretraining (PT)."""

    kind: Literal["passage"] = "passage"
    text: NonBlank
    title: str = ""


class Conversation(Record):
    """A whole talk between patient (`user`) and doctor (`assistant`).

    `sample_index` tells apart several talks of one case; `faults` is what the checks of
    the generator found; `usage` and identifiers of calls stay in the journal. `verdict` is the
    critic's, where one was asked; `repairs` how often the talk was redrawn from a faulty turn
    on. `side`: whose turns are to be learnt; on the patient's side the patient is `assistant`.
    """

    ADDED_LATER: ClassVar[frozenset[str]] = frozenset({"verdict", "repairs", "side"})

    kind: Literal["conversation"] = "conversation"
    messages: Annotated[tuple[Message, ...], Field(min_length=1)]
    tools: tuple[dict[str, JsonValue], ...] = ()
    persona: str = ""
    sample_index: Int64 = 0
    faults: tuple[Fault, ...] = ()
    verdict: Verdict | None = None
    repairs: Annotated[Int64, Field(ge=0)] = 0
    side: Literal["doctor", "patient"] = "doctor"


class PreferencePair(Record):
    """Two completions of one prompt, the better one first.

    `margin` is the difference of the judge's scores (chosen minus rejected, at least 0);
    `agreement` the share of judges that agree with the choice (1.0 where a rule decided);
    `fault_type` names what is wrong with the rejected completion. `judges`: the models that
    compared the two in both orders; `flip_rate`: the share of them whose verdict depends on the
    order. `length_difference`: characters, chosen minus rejected (None: not worked out).
    `verified`: who confirmed that the rejected one carries the fault and the chosen one does
    not: a rule, a judge model, or nobody.
    """

    ADDED_LATER: ClassVar[frozenset[str]] = frozenset(
        {"judges", "flip_rate", "length_difference", "verified"}
    )

    kind: Literal["preference_pair"] = "preference_pair"
    prompt: Annotated[tuple[Message, ...], Field(min_length=1)]
    chosen: Annotated[tuple[Message, ...], Field(min_length=1)]
    rejected: Annotated[tuple[Message, ...], Field(min_length=1)]
    tools: tuple[dict[str, JsonValue], ...] = ()
    fault_type: NonBlank
    margin: Annotated[float, Field(ge=0.0)]
    agreement: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0
    judges: tuple[NonBlank, ...] = ()
    flip_rate: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    length_difference: Int64 | None = None
    verified: Literal["rule", "judge", "no"] = "no"


class Problem(Record):
    """A question with a checkable answer.

    With `choices`, `answer` is the text of the right choice.
    """

    kind: Literal["problem"] = "problem"
    prompt: Annotated[tuple[Message, ...], Field(min_length=1)]
    answer: NonBlank
    choices: tuple[NonBlank, ...] = ()
    verifier: NonBlank = "choice"


class Feedback(Record):
    """One completion with a thumb up or down (KTO)."""

    kind: Literal["feedback"] = "feedback"
    prompt: Annotated[tuple[Message, ...], Field(min_length=1)]
    completion: Annotated[tuple[Message, ...], Field(min_length=1)]
    label: bool


class Quarantined(Frozen):
    """A row that was not accepted: the raw input as it came, and why.

    `origin` says where it came from (`file:line` or `artifact/file:line`).
    """

    kind: Literal["quarantined"] = "quarantined"
    raw: str
    fault: NonBlank
    detail: str
    origin: NonBlank


AnyRecord = Annotated[
    Passage | Conversation | PreferencePair | Problem | Feedback, Field(discriminator="kind")
]
RECORD_TYPES: tuple[type[Record], ...] = (
    Passage,
    Conversation,
    PreferencePair,
    Problem,
    Feedback,
)
RECORDS: TypeAdapter[Any] = TypeAdapter(AnyRecord)
