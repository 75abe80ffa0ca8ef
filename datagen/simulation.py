"""One role-play: a patient, a doctor and an examiner take turns, each with a view of its own.

Every request is determined by the case, the sample index, the settings and the talk so far,
so a killed run that starts again is answered out of the journal up to where it was.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from datagen.agents import doctor_view, examiner_view, patient_view
from datagen.cases import Case
from datagen.cues import find_orders, leaves, says_goodbye, split_results, word_results
from datagen.examination import Examination, Results, results_by_answer, results_by_name
from datagen.personas import Persona
from datagen.planning import UNDIRECTED, Direction
from datagen.prompting import read_prompt, render
from datagen.scripted import Line
from datagen.speaking import Draw, LineSettings, Speaker
from endpoints.errors import FaultyCompletion
from judging.wording import count_questions
from validation.schemas import Frozen, Message

VERSION = 3


class StopSettings(Frozen):
    """Which signs end a talk before its turns are used up.

    `advice`: a chat doctor who neither asks nor orders anything has ended it. `goodbye`: both
    have said goodbye. `leaving`: the patient says that they go; one turn of advice follows.
    """

    advice: bool = True
    goodbye: bool = True
    leaving: bool = True


class TalkSettings(Frozen):
    """How a talk goes.

    `method`: role-play alone, or with a plan before and a polish after (by role `teacher`).
    `doctor_turns`: at most; the last one closes with advice. From `min_doctor_turns` on a
    doctor of the chat style who asks nothing has ended the talk, and is asked for the advice in
    place of that turn (a transcript model leaves questions out by mistake). `stop`: what else
    ends it. `opening`: the patient's first line is the case's wording, or made by the model; by
    default the case's for transcript style, made for chat. `examiner`: who finds what the
    doctor's orders show: a model, the findings' names, nobody; by default a model for chat,
    names for transcript. `critic`: whether one reads the finished talk (None: where its endpoint
    is of chat style). `repairs`: how often a talk that falls short is redrawn from the faulty
    turn on (None: 1 for chat, 0 for transcript). `structured`: how answers of a fixed shape are
    drawn (examiner, critic, plan, polish).
    """

    method: Literal["role_play", "plan_play_polish"] = "role_play"
    doctor_turns: Annotated[int, Field(ge=1, le=40)] = 8
    min_doctor_turns: Annotated[int, Field(ge=1)] = 3
    stop: StopSettings = StopSettings()
    opening: Literal["by_style", "case", "generated"] = "by_style"
    examiner: Literal["by_style", "model", "findings", "off"] = "by_style"
    critic: bool | None = None
    repairs: NonNegativeInt | None = None
    line: LineSettings = LineSettings()
    structured: LineSettings = LineSettings(temperature=0.0, top_p=1.0, max_tokens=1500)
    seed: int = 0


class Ask(Frozen):
    """Which talk to make: the case, its personas, the number of the sample, a worked example.

    `clinician`: who sits in the doctor's seat, where that is not the doctor as he is.
    """

    case: Case
    persona: Persona
    sample_index: int
    example: tuple[Line, ...] = ()
    clinician: Persona | None = None


class RolePlay:
    """A talk as it grows. `talk` holds what was said, also after an endpoint has failed.

    `attempt`: how often this talk was begun or redrawn before; each has draws of its own.
    """

    def __init__(
        self,
        ask: Ask,
        settings: TalkSettings,
        speaker: Speaker,
        talk: Sequence[Message] = (),
        direction: Direction = UNDIRECTED,
        attempt: int = 0,
    ) -> None:
        self.ask, self.settings, self.speaker = ask, settings, speaker
        self.talk: tuple[Message, ...] = tuple(talk)
        self.direction, self.attempt = direction, attempt
        self.models: dict[str, None] = {}

    async def go_on(self) -> None:
        """Let the talk go on to its end. What stands already is not asked for again.

        Raises FaultyCompletion, and the endpoint errors that end a run.
        """
        if not self.talk:
            self.talk = (await self._opening(),)
        while True:
            if self.talk[-1].role == "assistant":
                answer = await self._patient()
                if self._goodbye(self.talk[-1]) and self._goodbye(answer):
                    return
                self.talk += (answer,)
            turn = sum(message.role == "assistant" for message in self.talk)
            closing = turn >= self.settings.doctor_turns - 1 or self._leaves(self.talk[-1])
            said = await self._doctor(closing)
            if not closing and self._gives_advice(said, turn):
                closing = True
                said = await self._doctor(closing)
            self.talk += (said,)
            if closing or (self._goodbye(said) and self._goodbye(self.talk[-2])):
                return

    async def _opening(self) -> Message:
        opening = self.settings.opening
        style = self.speaker.style_of("patient", self._draw("patient"))
        if opening == "case" or (opening == "by_style" and style == "transcript"):
            return Message(role="user", content=self.ask.case.opening)
        return await self._patient()

    async def _patient(self) -> Message:
        language = self.ask.case.language
        view = patient_view(self.ask.case, self.ask.persona)
        results = word_results(await self._results(), language)
        spoken = await self.speaker.patient_line(
            view,
            self.talk,
            self.ask.example,
            self.settings.line,
            self._draw("patient"),
            self.direction,
            results,
        )
        self.models[spoken.model] = None
        # Only the examiner tells results: brackets that a patient writes are taken off.
        _, words = split_results(_said("user", spoken.text), language)
        message = _said("user", words)
        return _said("user", f"{results} {message.content}") if results else message

    async def _doctor(self, closing: bool) -> Message:
        view = doctor_view(self.ask.case.language, self.talk, self.ask.clinician)
        draw = self._draw("doctor")
        spoken = await self.speaker.doctor_line(
            view, self.ask.example, closing, self.settings.line, draw, self.direction
        )
        self.models[spoken.model] = None
        return _said("assistant", spoken.text)

    async def _results(self) -> Results:
        """What the doctor's last turn ordered; nothing where it ordered nothing."""
        asked, language = self.settings.examiner, self.ask.case.language
        order = self.talk[-1].content if self.talk else ""
        if asked == "off" or not find_orders(order, language):
            return ()
        view = examiner_view(self.ask.case)
        if asked != "model":
            return results_by_name(order, view)
        text = render(read_prompt(language, "chat", "examiner"), view=view, order=order)
        draw, line = self._draw("examiner"), self.settings.structured
        try:
            filled = await self.speaker.fill_in("examiner", text, Examination, language, line, draw)
        except FaultyCompletion:
            return results_by_name(order, view)
        picked = results_by_answer(filled.value, view)
        return results_by_name(order, view) if picked is None else picked

    def _draw(self, purpose: str) -> Draw:
        return draw_of(self.ask, self.settings, len(self.talk), purpose, self.attempt)

    def _gives_advice(self, message: Message, turn: int) -> bool:
        return (
            self.settings.stop.advice
            and self.speaker.style_of("doctor", self._draw("doctor")) == "chat"
            and turn + 1 >= self.settings.min_doctor_turns
            and count_questions(message.content) == 0
            and not find_orders(message.content, self.ask.case.language)
        )

    def _leaves(self, message: Message) -> bool:
        _, words = split_results(message, self.ask.case.language)
        return self.settings.stop.leaving and leaves(words, self.ask.case.language)

    def _goodbye(self, message: Message) -> bool:
        _, words = split_results(message, self.ask.case.language)
        return self.settings.stop.goodbye and says_goodbye(words, self.ask.case.language)


def draw_of(ask: Ask, settings: TalkSettings, turn: int, purpose: str, attempt: int) -> Draw:
    """The draw of one request of a talk."""
    return Draw(
        seed=settings.seed,
        case_id=ask.case.case_id,
        sample_index=ask.sample_index,
        turn=turn,
        purpose=purpose,
        candidate=attempt,
    )


def _said(role: Literal["user", "assistant"], text: str) -> Message:
    if not text.strip():
        raise FaultyCompletion("the endpoint answered with blanks", "empty")
    return Message(role=role, content=text)
