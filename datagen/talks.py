"""One conversation from plan to record: role-play, polish, checks, critic, repair."""

from typing import Literal

from pydantic import JsonValue

from artifacts.digest import canonical_json
from datagen.access import AgentRole, LlmAccess
from datagen.agents import patient_view
from datagen.conversation_checks import (
    TalkCheckSettings,
    check_talk,
    missed_must_asks,
    with_faults,
)
from datagen.critique import ask_critic, verdict_faults
from datagen.planning import UNDIRECTED, Direction, Plan, Polished, with_polish
from datagen.prompting import Style, read_prompt, render
from datagen.repairs import directed, first_faulty_turn
from datagen.simulation import VERSION, Ask, RolePlay, TalkSettings, draw_of
from datagen.speaking import LineSettings, Speaker
from endpoints.errors import FaultName, FaultyCompletion
from validation.schemas import Conversation, Fault, Message, Quarantined


def settle(settings: TalkSettings, access: LlmAccess, style: Style | None) -> TalkSettings:
    """The settings with everything decided that goes by the endpoints' styles."""

    def chats(role: AgentRole) -> bool:
        own = [share.endpoint.style for share in access.shares(role)]
        return all(one == "chat" for one in ([style] if style else own))

    examiner: Literal["by_style", "model", "findings", "off"] = settings.examiner
    if examiner == "by_style":
        examiner = "model" if chats("examiner") else "findings"
    critic = chats("critic") if settings.critic is None else settings.critic
    repairs = int(chats("doctor")) if settings.repairs is None else settings.repairs
    return settings.model_copy(update={"examiner": examiner, "critic": critic, "repairs": repairs})


def talk_roles(settled: TalkSettings) -> tuple[AgentRole, ...]:
    """The roles that talks of settled settings ask."""
    roles: tuple[AgentRole, ...] = ("doctor", "patient")
    roles += ("examiner",) if settled.examiner == "model" else ()
    roles += ("critic",) if settled.critic else ()
    return roles + (("teacher",) if settled.method == "plan_play_polish" else ())


async def make_talk(
    ask: Ask, settings: TalkSettings, checks: TalkCheckSettings, speaker: Speaker
) -> Conversation | Quarantined:
    """Make one talk; Quarantined where the endpoint finally failed one of its requests.

    What is still at fault after all repairs is kept, with its faults. Raises the endpoint errors
    that end a run (EndpointDown, BudgetExceeded, KeyMissing, …).
    """
    settled = settle(settings, speaker.cast.access, speaker.style)
    work = _Work(ask, settled, checks, speaker)
    try:
        return await work.done()
    except FaultyCompletion as faulty:
        return quarantined_talk(ask, work.talk, faulty.fault, str(faulty))


class _Work:
    """A talk in the making. `talk` is what was said so far."""

    def __init__(
        self, ask: Ask, settings: TalkSettings, checks: TalkCheckSettings, speaker: Speaker
    ) -> None:
        self.ask, self.settings, self.checks, self.speaker = ask, settings, checks, speaker
        self.play = RolePlay(ask, settings, speaker)
        self.models: dict[str, None] = {}
        self.planned = settings.method == "plan_play_polish"

    @property
    def talk(self) -> tuple[Message, ...]:
        return self.play.talk

    async def done(self) -> Conversation:
        """The talk after as many repairs as it needs and may have."""
        direction = Direction(plan=await self._plan()) if self.planned else UNDIRECTED
        kept: tuple[Message, ...] = ()
        for attempt in range((self.settings.repairs or 0) + 1):
            last = attempt == self.settings.repairs
            self.play = RolePlay(self.ask, self.settings, self.speaker, kept, direction, attempt)
            await self.play.go_on()
            self.models |= self.play.models
            if self.planned:
                await self._polish(len(kept), attempt)
            made = await self._checked(attempt, last)
            missed = len(missed_must_asks(made, self.ask.case))
            place = first_faulty_turn(made, missed, self.settings.doctor_turns)
            if last or place is None:
                break
            kept = made.messages[:place]
            direction = directed(direction, made)
        return made

    async def _checked(self, attempt: int, last: bool) -> Conversation:
        """The record with its faults.

        The critic reads what the rules let pass, and what stays: a talk that the rules send to
        repair need not be read.
        """
        made = with_faults(self._record(self.talk, attempt), self.ask.case, self.checks)
        if not self.settings.critic or (made.faults and not last):
            return made
        draw = draw_of(self.ask, self.settings, len(self.talk), "critic", attempt)
        line = self.settings.structured
        verdict = await ask_critic(self.talk, self.ask.case, self.speaker, line, draw)
        if isinstance(verdict, Fault):
            return _changed(made, faults=(*made.faults, verdict))
        judged = _changed(made, verdict=verdict)
        return _changed(judged, faults=(*judged.faults, *verdict_faults(judged)))

    async def _plan(self) -> Plan:
        language = self.ask.case.language
        view = patient_view(self.ask.case, self.ask.persona)
        text = render(read_prompt(language, "chat", "plan"), view=view)
        draw = draw_of(self.ask, self.settings, 0, "plan", 0)
        line = self._free_line()
        return (await self.speaker.fill_in("teacher", text, Plan, language, line, draw)).value

    async def _polish(self, start: int, attempt: int) -> None:
        """Polish the new turns; the talk stays as it was where the polish does not serve."""
        language = self.ask.case.language
        prompt = read_prompt(language, "chat", "polish")
        text = render(prompt, talk=self.talk, start=start)
        draw = draw_of(self.ask, self.settings, len(self.talk), "polish", attempt)
        line = self._free_line()
        try:
            filled = await self.speaker.fill_in("teacher", text, Polished, language, line, draw)
        except FaultyCompletion:
            return
        new = with_polish(self.talk, start, filled.value, language)
        if new is not None and self._faults(new) <= self._faults(self.talk):
            self.play.talk = new

    def _faults(self, talk: tuple[Message, ...]) -> set[tuple[str, int | None]]:
        faults = check_talk(self._record(talk, 0), self.ask.case, self.checks)
        return {(fault.name, fault.message_index) for fault in faults}

    def _free_line(self) -> LineSettings:
        """For what shall differ from sample to sample."""
        line = self.settings.line
        return self.settings.structured.model_copy(
            update={"temperature": line.temperature, "top_p": line.top_p}
        )

    def _record(self, talk: tuple[Message, ...], repairs: int) -> Conversation:
        seated = (self.ask.persona, self.ask.clinician)
        how = "simulated-planned" if self.planned else "simulated"
        return Conversation(
            language=self.ask.case.language,
            source=f"{how}/{VERSION} {' '.join(self.models)}",
            case_id=self.ask.case.case_id,
            license=self.ask.case.license,
            messages=talk,
            persona=" with ".join(one.persona_id for one in seated if one),
            sample_index=self.ask.sample_index,
            repairs=repairs,
        )


def quarantined_talk(
    ask: Ask, talk: tuple[Message, ...], fault: FaultName, detail: str
) -> Quarantined:
    """The talk as far as it came, under the fault of the endpoint that ended it."""
    raw: dict[str, JsonValue] = {
        "case_id": ask.case.case_id,
        "language": ask.case.language,
        "sample_index": ask.sample_index,
        "messages": [{"role": m.role, "content": m.content} for m in talk],
    }
    return Quarantined(
        raw=canonical_json(raw),
        fault=f"endpoint_{fault}",
        detail=detail,
        origin=f"{ask.case.case_id}/{ask.sample_index}",
    )


def _changed(talk: Conversation, **fields: object) -> Conversation:
    """The record with other fields, under its new record_id."""
    kept = {name: getattr(talk, name) for name in Conversation.model_fields if name != "record_id"}
    return Conversation.model_validate(kept | fields)
