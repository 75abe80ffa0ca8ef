"""The choice questions: YAML files, one a language, read into checked values."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from artifacts.digest import digest_file, digest_names
from evaluation.errors import QuestionError
from validation.schemas import Frozen, Language, NonBlank

FOLDER = Path(__file__).with_name("questions")
LANGUAGES: tuple[Language, ...] = ("en", "zh")
CHOICES = 4
WORDING = "wording.yaml"

Topic = Literal[
    "red_flags",
    "triage",
    "drug_safety",
    "dose",
    "history_taking",
    "common_disease",
    "prevention",
    "maternal_child",
    "first_aid",
    "communication",
]


class Question(Frozen):
    """A question with four choices, of which the one at index `answer` is right."""

    question_id: Annotated[str, Field(pattern=r"^(en|zh)-\d{3}$")]
    topic: Topic
    question: NonBlank
    choices: Annotated[tuple[NonBlank, ...], Field(min_length=CHOICES, max_length=CHOICES)]
    answer: Annotated[int, Field(ge=0, lt=CHOICES)]
    explanation: NonBlank
    source: NonBlank

    @property
    def language(self) -> Language:
        """The language, which the identifier begins with."""
        return "zh" if self.question_id.startswith("zh") else "en"

    @model_validator(mode="after")
    def _choices_differ(self) -> Self:
        if len({choice.strip().lower() for choice in self.choices}) < CHOICES:
            raise ValueError("two choices are the same: a question has one right answer")
        return self


class Wording(Frozen):
    """The text before the choices, and each choice as it follows that text."""

    prompt: Annotated[str, Field(pattern=r"\{question\}")]
    choice: Annotated[str, Field(pattern=r"\{choice\}")]

    def put(self, question: Question) -> tuple[str, tuple[str, ...]]:
        """The prompt of a question and its choices as texts."""
        prompt = self.prompt.format(question=question.question)
        return prompt, tuple(self.choice.format(choice=choice) for choice in question.choices)


WORDINGS: TypeAdapter[dict[Language, Wording]] = TypeAdapter(dict[Language, Wording])
QUESTIONS: TypeAdapter[tuple[Question, ...]] = TypeAdapter(tuple[Question, ...])


def read_questions(
    languages: Sequence[Language] = LANGUAGES, folder: Path = FOLDER
) -> tuple[Question, ...]:
    """The questions of some languages, in order of question_id.

    Raises QuestionError naming the file and each field at fault.
    """
    found = [question for language in languages for question in _read_file(folder, language)]
    ids = [question.question_id for question in found]
    if twice := sorted({i for i in ids if ids.count(i) > 1}):
        raise QuestionError(f"question_id used twice under {folder}: {twice}")
    return tuple(sorted(found, key=lambda question: question.question_id))


def questions_digest(folder: Path = FOLDER) -> str:
    """One digest of the questions and of how they are put, so that a change is noticed."""
    files = [folder / f"{language}.yaml" for language in LANGUAGES]
    files.append(FOLDER / WORDING)
    return digest_names((file.name, digest_file(file)) for file in files)


def read_wordings(folder: Path = FOLDER) -> dict[Language, Wording]:
    """How questions are put, by language. Raises QuestionError where the file is not right."""
    path = folder / WORDING
    try:
        return WORDINGS.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise QuestionError(f"{path} cannot be used: {error}") from error


def _read_file(folder: Path, language: Language) -> tuple[Question, ...]:
    path = folder / f"{language}.yaml"
    try:
        questions = QUESTIONS.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise QuestionError(f"{path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise QuestionError(f"{path}: not YAML: {error}") from error
    except ValidationError as error:
        lines = "; ".join(f"{_place(e['loc'])}: {e['msg']}" for e in error.errors())
        raise QuestionError(f"{path}: {lines}") from error
    if strangers := [q.question_id for q in questions if q.language != language]:
        raise QuestionError(f"{path}: {strangers} do not begin with {language!r}")
    return questions


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "file"
