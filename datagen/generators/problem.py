"""Problems whose answers can be checked, made of the library's cases without any model.

For training by rewards (GRPO, PPO) and for evaluation: the verifiers of `judging.verifiers`
read the answer out of a completion.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Annotated, Literal, TypeVar

from pydantic import Field, PositiveInt

from artifacts.digest import digest_json
from datagen.agents import SEX, age_words
from datagen.cases import Case
from datagen.errors import NothingToGenerate
from datagen.generators.asking import Asker
from datagen.generators.dosing import (
    WORDS_FILE,
    DoseQuestion,
    dose_questions,
    figure,
    read_problem_words,
)
from datagen.generators.generator import Generator, GeneratorSettings, Ground, Item
from judging.verifiers import LETTERS
from validation.schemas import Language, Message, NonBlank, Problem
from validation.text import normalised, width

KIND = "problem"
VERSION = 1
Form = Literal["diagnosis", "urgency", "red_flag", "dose"]
FORMS: tuple[Form, ...] = ("diagnosis", "urgency", "red_flag", "dose")
PROMPTS = tuple(f"problem_{name}" for name in ("vignette", *FORMS))
LEAST_CHOICES = 3
BRACKETS = re.compile(r"\s*[(（][^()（）]*[)）]")
Prompt = Callable[..., str]
OneT = TypeVar("OneT")


class ProblemSettings(GeneratorSettings):
    """Which problems are made.

    `choices`: how many texts a diagnosis or a red flag is chosen from, where the case has so
    many (three at least; urgencies are always five). `dose_numbers`: sums of every sort made of
    one treatment, each with other numbers.
    """

    kind: Literal["problem"] = "problem"
    rows: PositiveInt = 80
    most_alike: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    forms: Annotated[tuple[Form, ...], Field(min_length=1)] = FORMS
    choices: Annotated[int, Field(ge=LEAST_CHOICES, le=5)] = 4
    dose_numbers: Annotated[int, Field(ge=1, le=20)] = 2


class ProblemItem(Item):
    """One problem to make: of which case, in which form, with which sum."""

    form: Form
    case_id: NonBlank
    choices: int
    seed: int
    dose: DoseQuestion | None = None
    case: Case = Field(exclude=True)

    @property
    def identity(self) -> tuple[object, ...]:
        """What its requests follow from, beside settings and language: no place in a list."""
        sum_id = digest_json(self.dose.model_dump()) if self.dose else ""
        return (self.form, self.case_id, sum_id)


def problem_items(
    settings: GeneratorSettings,
    forms: Sequence[Form],
    choices: int,
    dose_numbers: int,
    ground: Ground,
) -> list[ProblemItem]:
    """The first `settings.rows` problems of the library: languages and forms take turns.

    Raises NothingToGenerate where the library gives fewer.
    """
    by_language = [
        _items_in(language, forms, choices, dose_numbers, settings.seed, ground)
        for language in ground.languages
    ]
    every = list(_in_turns(by_language))
    if settings.rows > len(every):
        raise NothingToGenerate(
            f"{settings.rows} problems are wanted, but the library gives {len(every)} of the "
            f"forms {list(forms)} in {list(ground.languages)}: set `rows` to {len(every)} at "
            "most, allow more forms, raise `dose_numbers`, or add cases"
        )
    return every[: settings.rows]


def _items_in(
    language: Language,
    forms: Sequence[Form],
    choices: int,
    dose_numbers: int,
    seed: int,
    ground: Ground,
) -> list[ProblemItem]:
    cases = ground.cases_in(language)
    drawn = _in_turns(_of_form(form, cases, seed, dose_numbers) for form in forms)
    return [
        ProblemItem(
            language=language,
            place=place,
            form=form,
            case_id=case.case_id,
            choices=choices,
            seed=seed,
            dose=dose,
            case=case,
        )
        for place, (form, case, dose) in enumerate(drawn)
    ]


def compose(item: ProblemItem, prompt: Prompt, source: str) -> Problem:
    """The problem of an item; `prompt` fills in a prompt file of its language."""
    case = item.case
    whom = {
        "age": age_words(case.patient.age_years, case.language),
        "sex": SEX[case.language][case.patient.sex],
        "case": case,
    }
    if item.dose is not None:
        text = prompt("problem_dose", sum=item.dose, figure=figure, **whom)
        return _problem(item, source, text, figure(item.dose.answer), verifier="number")
    if item.form == "red_flag":
        answer, choices = _red_flags(item)
        told = prompt("problem_vignette", facts=(), findings=(), **whom)
    else:
        answer, choices = _urgencies(item) if item.form == "urgency" else _diagnoses(item)
        told = prompt("problem_vignette", facts=case.facts, findings=_findings(case), **whom)
    lettered = list(zip(LETTERS, choices, strict=False))
    text = prompt(f"problem_{item.form}", vignette=told.strip(), choices=lettered)
    return _problem(item, source, text, answer, choices)


def items(settings: ProblemSettings, ground: Ground) -> Sequence[ProblemItem]:
    """Every case once in every form, and sums with other numbers. Raises NothingToGenerate."""
    forms, choices = settings.forms, settings.choices
    return problem_items(settings, forms, choices, settings.dose_numbers, ground)


async def make(settings: ProblemSettings, item: ProblemItem, asker: Asker) -> Sequence[Problem]:
    """The problem of an item; nothing is asked."""
    return [compose(item, asker.prompt, asker.source(f"{KIND}_{item.form}", VERSION))]


def _problem(
    item: ProblemItem,
    source: str,
    text: str,
    answer: str,
    choices: Sequence[str] = (),
    verifier: str = "choice",
) -> Problem:
    return Problem(
        language=item.language,
        source=source,
        case_id=item.case_id,
        prompt=(Message(role="user", content=text),),
        answer=answer,
        choices=tuple(choices),
        verifier=verifier,
    )


Drawn = tuple[Form, Case, DoseQuestion | None]


def _of_form(form: Form, cases: Sequence[Case], seed: int, dose_numbers: int) -> list[Drawn]:
    """Every problem of one form, shuffled."""
    found: list[Drawn]
    if form == "dose":
        found = [(form, c, sum_) for c in cases for sum_ in dose_questions(c, seed, dose_numbers)]
    else:
        found = [(form, case, None) for case in cases if form != "red_flag" or _has_flags(case)]

    def place(drawn: Drawn) -> str:
        dose = drawn[2].model_dump() if drawn[2] else None
        return digest_json([KIND, seed, form, drawn[1].case_id, dose])

    return sorted(found, key=place)


def _in_turns(groups: Iterable[Iterable[OneT]]) -> Iterator[OneT]:
    """The first of each group, the second of each, and so on; a group that is used up is out."""
    for turn in zip_longest(*groups):
        yield from (one for one in turn if one is not None)


def _has_flags(case: Case) -> bool:
    flags = [fact for fact in case.facts if fact.red_flag]
    return bool(flags) and len(case.facts) - len(flags) >= LEAST_CHOICES - 1


def _diagnoses(item: ProblemItem) -> tuple[str, list[str]]:
    """The diagnosis among its differential, all without remarks.

    A case names its diagnosis in full and the others in brief: unless it is cut and the longest
    of the others are taken, the longest choice would mostly be the right one.
    """
    case = item.case
    every = [case.diagnosis.name, *case.differential]
    bare = [_without_brackets(one) for one in every]
    bare[0] = _cut(bare[0], item.language)
    if len({normalised(one) for one in bare}) == len(every):
        every = bare
    longest = sorted(every[1:], key=width, reverse=True)[: item.choices - 1]
    return every[0], _offered(item, every[0], longest, item.choices)


def _cut(name: str, language: Language) -> str:
    """A diagnosis without doubt, side and stage, but with its cause."""
    words = read_problem_words()
    for doubt in words.doubt[language]:
        bare = name.removeprefix(doubt)
        name = bare if bare == name else bare[:1].upper() + bare[1:]
    for mark in words.qualifies[language]:
        head, _, rest = name.partition(mark)
        if rest:
            return name if any(cause in rest for cause in words.causes[language]) else head
    return name


def _urgencies(item: ProblemItem) -> tuple[str, list[str]]:
    words = read_problem_words().urgencies[item.language]
    answer = words[item.case.disposition.urgency]
    others = [text for text in words.values() if text != answer]
    return answer, _offered(item, answer, others, len(words))


def _red_flags(item: ProblemItem) -> tuple[str, list[str]]:
    flags = [fact.statement for fact in item.case.facts if fact.red_flag]
    others = [fact.statement for fact in item.case.facts if not fact.red_flag]
    answer = _shuffled(item, flags, "flag")[0]
    return answer, _offered(item, answer, others, item.choices)


def _offered(item: ProblemItem, answer: str, others: Sequence[str], count: int) -> list[str]:
    # Two shuffles: with one, the answer would often come behind those that were drawn.
    drawn = _shuffled(item, others, "drawn")[: count - 1]
    return _shuffled(item, [answer, *drawn], "order")


def _shuffled(item: ProblemItem, texts: Sequence[str], purpose: str) -> list[str]:
    """In an order that follows from the case and the form, not from where they stand now."""
    names = [str(item.seed), item.case_id, item.form, purpose]
    return sorted(texts, key=lambda text: digest_json([*names, text]))


def _findings(case: Case) -> list[tuple[str, str]]:
    """Name and result of the findings that do not name the diagnosis."""
    found = [(one.name, one.result) for one in case.findings]
    return [pair for pair in found if not names_diagnosis(" ".join(pair), case)]


def names_diagnosis(text: str, case: Case) -> bool:
    """Whether a text holds any wording of the diagnosis."""
    plain = normalised(text)
    names = (case.diagnosis.name, _without_brackets(case.diagnosis.name), *case.diagnosis.names)
    return any(normalised(name) in plain for name in names)


def _without_brackets(text: str) -> str:
    return BRACKETS.sub("", text).strip() or text


GENERATOR = Generator(
    settings=ProblemSettings,
    version=VERSION,
    roles=(),
    prompts=PROMPTS,
    writes=(Problem,),
    items=items,
    make=make,
    word_lists=(WORDS_FILE,),
)
