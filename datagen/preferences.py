"""From which turns preference pairs are made, and how.

`sampled`: several draws of one turn and the turn as it was said, ranked by judges.
`typed_error`: the turn as it was said, against a rewrite that carries one typed clinical error
(chat endpoints only). `on_policy`: several draws of one model alone, the role `doctor`'s.
"""

from typing import Annotated, Literal

from pydantic import Field

from artifacts.digest import digest_json
from datagen.cases import Case
from datagen.scripted import Line
from datagen.speaking import Draw, LineSettings
from judging.doctor_turn import RUBRIC_NAME
from judging.panel import JudgeSettings
from validation.schemas import Conversation, Frozen, Message, NonBlank

Method = Literal["sampled", "typed_error", "on_policy"]
JudgeMode = Literal["rules", "llm", "both"]


class PreferenceSettings(Frozen):
    """How pairs are made.

    `methods` None: by the endpoint's style (`sampled` for transcript, with `typed_error` for
    chat). `samples`: draws of one turn, beside the turn as it was said (`on_policy`: without
    it). A pair needs a score of `min_chosen` and nothing missed that must hold for the better
    one, and `min_margin` between the two.

    `judge`: who scores. None: rules and models (`both`) where the role `judge` is named, else
    rules. `rubric`: what judge models grade by, a shipped one's name or a file. Models also
    compare the two of a pair in both orders. `ties`: what happens to pairs that they, or the
    margin, leave undecided. `unverified`: what happens to typed errors that neither a rule nor
    a majority of judges can confirm (by_judge: quarantined where there are judge models, else
    kept). `max_length_bias`: the most that pairs whose chosen answer is the longer one, or the
    shorter one, may be of all whose lengths differ.
    """

    methods: tuple[Method, ...] | None = None
    turns_per_conversation: Annotated[int, Field(ge=1)] = 2
    samples: Annotated[int, Field(ge=1)] = 4
    min_margin: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1
    min_chosen: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    judge: JudgeMode | None = None
    judges: JudgeSettings = JudgeSettings()
    rubric: NonBlank = RUBRIC_NAME
    ties: Literal["drop", "keep"] = "drop"
    unverified: Literal["keep", "quarantine", "by_judge"] = "by_judge"
    max_length_bias: Annotated[float, Field(ge=0.5, lt=1.0)] | None = None
    line: LineSettings = LineSettings(temperature=1.0)
    seed: int = 0


class Place(Frozen):
    """One doctor's turn of one talk, from which a pair is made by one method."""

    talk: Conversation
    case: Case
    turn: int
    method: Method
    example: tuple[Line, ...] = ()

    @property
    def history(self) -> tuple[Message, ...]:
        """The talk up to the turn."""
        return self.talk.messages[: self.turn]

    @property
    def said(self) -> str:
        """The turn as it was said."""
        return self.talk.messages[self.turn].content

    @property
    def closing(self) -> bool:
        """Whether the turn ends the talk."""
        return self.turn == len(self.talk.messages) - 1

    @property
    def origin(self) -> str:
        """Where it is: case, sample, turn."""
        return f"{self.case.case_id}/{self.talk.sample_index}/{self.turn}"

    def draw(self, seed: int, candidate: int) -> Draw:
        """The draw of a candidate for the turn."""
        return Draw(
            seed=seed,
            case_id=self.case.case_id,
            sample_index=self.talk.sample_index,
            turn=self.turn,
            purpose=self.method,
            candidate=candidate,
        )


def usable_turns(talk: Conversation, settings: PreferenceSettings) -> tuple[int, ...]:
    """The doctor's turns with a clean talk before them: some of them, drawn by the talk's name.

    In order of place; at most `turns_per_conversation`.
    """
    broken = min(
        (f.message_index for f in talk.faults if f.message_index is not None),
        default=len(talk.messages),
    )
    turns = [i for i, m in enumerate(talk.messages) if m.role == "assistant" and 0 < i <= broken]
    drawn = sorted(turns, key=lambda i: digest_json([settings.seed, talk.record_id, i]))
    return tuple(sorted(drawn[: settings.turns_per_conversation]))
