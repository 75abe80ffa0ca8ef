"""Drafting one case with a teacher model: the clinical truth, then facts and wordings, a repair.

Both answers have a fixed shape. What the checks find in the case that they make is shown to
the model once; what then is still unsound is quarantined under the fault's name.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, JsonValue, PositiveInt, ValidationError

from artifacts.digest import canonical_json, digest_json
from datagen.case_checks import Ground, check_case, faults_of
from datagen.cases import Case, Diagnosis, Fact, Finding, Patient, Prescription, Urgency
from datagen.grid import SPECIALTIES, Cell, age_band, cell_of
from datagen.prompting import read_prompt, render
from endpoints.errors import FaultyCompletion
from endpoints.pool import Ask, Pool
from endpoints.request import ChatMessage, ChatRequest, Sampling
from endpoints.settings import EndpointSettings
from endpoints.structured import ask_structured
from validation.schemas import Fault, Frozen, Language, NonBlank, Quarantined

Texts = tuple[NonBlank, ...]
MOST_FAULTS_SHOWN = 12
LABEL_DIGITS = 8


class DraftSampling(Frozen):
    """How drafts are drawn; `max_tokens` bounds one answer, at the longest a whole case."""

    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 0.7
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 0.95
    max_tokens: PositiveInt = 6000


class Truth(Frozen):
    """The clinical truth of a case, as drafted: nothing of it is checked yet but its shape."""

    title: NonBlank
    specialty: NonBlank
    urgency: Urgency
    patient: Patient
    complaint: NonBlank
    history: NonBlank
    findings: Annotated[tuple[Finding, ...], Field(min_length=1)]
    diagnosis: Diagnosis
    differential: Annotated[Texts, Field(min_length=2)]
    contraindications: Texts
    treatments: tuple[Prescription, ...]


class Wording(Frozen):
    """What is said in a case, as drafted."""

    opening: NonBlank
    facts: Annotated[tuple[Fact, ...], Field(min_length=5)]
    advice: NonBlank
    action_words: Annotated[Texts, Field(min_length=1)]


class Draft(Frozen):
    """Both parts of a case."""

    truth: Truth
    wording: Wording


class Order(Frozen):
    """One case to draft: its name in the run, its ground, a worked example, what exists.

    `known`: diagnoses that the library has for this specialty, which a new case should not
    repeat. `source`, `license`: of the note, where there is one.
    """

    name: NonBlank
    language: Language
    ground: Ground
    example: Case
    known: tuple[NonBlank, ...] = ()
    source: str = ""
    license: NonBlank = "Apache-2.0"


@dataclass(frozen=True)
class Drafter:
    """Who drafts, and how."""

    pool: Pool
    sampling: DraftSampling
    seed: int

    async def draft(self, order: Order) -> Case | Quarantined:
        """The case of an order, or why there is none.

        Raises the errors that end a run; what fails with one order is quarantined.
        """
        draft: Draft | None = None
        try:
            truth, model = await self._truth(order)
            draft = Draft(truth=truth, wording=await self._wording(order, truth))
            case, faults = assemble(draft, order, model)
            if faults:
                draft = await self._repaired(order, draft, faults)
                case, faults = assemble(draft, order, model)
        except FaultyCompletion as faulty:
            return quarantined_draft(order, draft, f"endpoint_{faulty.fault}", str(faulty))
        if case is not None and not faults:
            return case
        detail = "; ".join(f"{fault.name}: {fault.detail}" for fault in faults)
        return quarantined_draft(order, draft, faults[0].name, detail)

    async def _truth(self, order: Order) -> tuple[Truth, str]:
        text = render(
            read_prompt(order.language, "chat", "case_truth"),
            cell=order.ground.cell,
            note=order.ground.note,
            known=order.known,
            specialties=SPECIALTIES,
            example=_json(draft_of(order.example).truth),
        )
        made = await ask_structured(
            self.pool, self._ask(order, "truth", text), Truth, order.name, order.language
        )
        return made.value, made.answered.endpoint.model

    async def _wording(self, order: Order, truth: Truth) -> Wording:
        example = draft_of(order.example)
        text = render(
            read_prompt(order.language, "chat", "case_wording"),
            truth=_json(truth),
            note=order.ground.note,
            example_truth=_json(example.truth),
            example_wording=_json(example.wording),
        )
        made = await ask_structured(
            self.pool, self._ask(order, "wording", text), Wording, order.name, order.language
        )
        return made.value

    async def _repaired(self, order: Order, draft: Draft, faults: Sequence[Fault]) -> Draft:
        text = render(
            read_prompt(order.language, "chat", "case_repair"),
            cell=order.ground.cell,
            note=order.ground.note,
            draft=_json(draft),
            faults=[f"{fault.name}: {fault.detail}" for fault in faults[:MOST_FAULTS_SHOWN]],
        )
        made = await ask_structured(
            self.pool, self._ask(order, "repair", text), Draft, order.name, order.language
        )
        return made.value

    def _ask(self, order: Order, part: Literal["truth", "wording", "repair"], text: str) -> Ask:
        seed = int(digest_json(["draft", self.seed, order.name, part])[:8], 16) >> 1

        def ask(endpoint: EndpointSettings) -> ChatRequest:
            return ChatRequest(
                model=endpoint.model,
                revision=endpoint.revision,
                messages=(ChatMessage(role="user", content=text),),
                sampling=Sampling(**self.sampling.model_dump(), seed=seed),
            )

        return ask


def assemble(draft: Draft, order: Order, model: str) -> tuple[Case | None, tuple[Fault, ...]]:
    """The case that a draft makes, if it makes one, and everything that is wrong with it."""
    truth, wording = draft.truth, draft.wording
    values: dict[str, object] = {
        "case_id": case_id(draft, order.language),
        "language": order.language,
        **truth.model_dump(exclude={"urgency"}),
        "opening": wording.opening,
        "facts": [fact.model_dump() for fact in wording.facts],
        "disposition": {
            "urgency": truth.urgency,
            "advice": wording.advice,
            "action_words": wording.action_words,
        },
        "sources": [*([order.source] if order.source else []), f"drafted by {model}, not reviewed"],
        "license": order.license,
        "reviewed": False,
    }
    try:
        case = Case.model_validate(values)
    except ValidationError as error:
        return None, faults_of(error)
    return case, check_case(case, order.ground)


def case_id(draft: Draft, language: Language) -> str:
    """A name that says where the case stands, and differs where the draft does."""
    band = age_band(draft.truth.patient.age_years)
    plain = "".join(
        c if c.isascii() and c.isalnum() else "-" for c in draft.truth.specialty.lower()
    )
    digest = digest_json(draft.model_dump(mode="json"))[:LABEL_DIGITS]
    return f"{language}-{plain}-{band}-{draft.truth.patient.sex}-{digest}"


def draft_of(case: Case) -> Draft:
    """The draft that would make a case: what an example shows."""
    values = case.model_dump()
    truth = {name: values.get(name) for name in Truth.model_fields if name != "urgency"}
    return Draft.model_validate(
        {
            "truth": truth | {"urgency": case.disposition.urgency},
            "wording": {
                "opening": case.opening,
                "facts": values["facts"],
                "advice": case.disposition.advice,
                "action_words": case.disposition.action_words,
            },
        }
    )


def choose_example(library: Sequence[Case], language: Language, cell: Cell | None) -> Case | None:
    """The case of the language that shares most with the cell; the first of equals by name."""
    spoken = sorted((c for c in library if c.language == language), key=lambda c: c.case_id)
    if cell is None:
        return min(spoken, key=lambda case: len(case.model_dump_json()), default=None)
    wanted = set(cell.model_dump().values())
    return max(
        spoken,
        key=lambda case: len(wanted & set(cell_of(case).model_dump().values())),
        default=None,
    )


def quarantined_draft(order: Order, draft: Draft | None, fault: str, detail: str) -> Quarantined:
    """An order that came to nothing, with the draft as far as it went."""
    raw: dict[str, JsonValue] = {
        "language": order.language,
        "ground": order.ground.model_dump(mode="json"),
        "draft": draft.model_dump(mode="json") if draft else None,
    }
    return Quarantined(raw=canonical_json(raw), fault=fault, detail=detail, origin=order.name)


def _json(value: Frozen) -> str:
    return json.dumps(value.model_dump(mode="json"), ensure_ascii=False, indent=1)
