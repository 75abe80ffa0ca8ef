"""What can be counted in talks without judging them: lengths, balance, diversity.

Figures of two groups compare only where they come from as much text, so diversity is worked
out on equal samples (see `diversity`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from statistics import median

from artifacts.digest import digest_json
from evaluation.errors import NotEnoughData
from validation.schemas import Frozen, Language, Message
from validation.text import TOKEN, width

QUESTION_MARKS = ("?", "？")
SENTENCE_MARKS = ".!?。！？…"
# Fewer words in a sentence tell nothing: "I see.", "好的。"
LEAST_WIDTH = 12
SAMPLED_TALKS = 200
GRAMS = (1, 2, 3)
# Long enough to be a phrase of somebody's: 5 words, or 8 Chinese characters.
PHRASE: Mapping[Language, int] = {"en": 5, "zh": 8}


class Talk(Frozen):
    """One talk as the figures see it; `group` is what it shares with others (its case)."""

    language: Language
    group: str
    messages: tuple[Message, ...]


class Lengths(Frozen):
    """Means over talks, and how many talks have so many doctor's turns.

    Widths are characters, Chinese ones counted twice; `patient_share`: of all width.
    """

    talks: int
    doctor_turns: dict[int, int]
    mean_doctor_turns: float
    median_doctor_width: float
    median_patient_width: float
    patient_share: float


class Balance(Frozen):
    """The doctor's turns by what they do, as shares: ask alone, tell alone, do both.

    `questions_per_asking_turn`: 1 is what a patient can answer (BianQue, Chen et al. 2023); None
    where no turn asks.
    """

    turns: int
    asks: float
    tells: float
    both: float
    questions_per_asking_turn: float | None


class Diversity(Frozen):
    """On a sample: distinct-n (Li et al. 2016) and phrases that recur in other talks.

    `distinct`: n → distinct n-grams by all, among the first `tokens` tokens. `recurring`: the
    mean share of a talk's phrases that another talk has too; `recurring_elsewhere`: a talk of
    another case.
    """

    talks: int
    tokens: int
    distinct: dict[int, float]
    recurring: float
    recurring_elsewhere: float


class TalkFigures(Frozen):
    """All figures of the talks of one language."""

    language: Language
    lengths: Lengths
    balance: Balance
    diversity: Diversity


class Sample:
    """The talks with the smallest digests, so that any order gives the same ones."""

    def __init__(self, most: int = SAMPLED_TALKS) -> None:
        self._most = most
        self._kept: dict[str, Talk] = {}

    def add(self, talk: Talk) -> None:
        """See one talk."""
        key = digest_json([talk.group, [m.content for m in talk.messages]])
        if len(self._kept) < self._most:
            self._kept[key] = talk
        elif key < (last := max(self._kept)):
            del self._kept[last]
            self._kept[key] = talk

    @property
    def talks(self) -> list[Talk]:
        """The sample, in the order of digests."""
        return [self._kept[key] for key in sorted(self._kept)]


class Counts:
    """Adds talks of one language up, one at a time."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self.sample = Sample()
        self.talks = 0
        self._turns: Counter[int] = Counter()
        self._widths: dict[str, Counter[int]] = {"user": Counter(), "assistant": Counter()}
        self._acts: Counter[str] = Counter()
        self._questions = 0

    def add(self, talk: Talk) -> None:
        """See one talk."""
        self.talks += 1
        self.sample.add(talk)
        self._turns[sum(m.role == "assistant" for m in talk.messages)] += 1
        for message in talk.messages:
            if message.role in self._widths and message.content.strip():
                self._widths[message.role][width(message.content)] += 1
            if message.role == "assistant" and message.content.strip():
                self._acts[act_of(message.content)] += 1
                self._questions += sum(message.content.count(mark) for mark in QUESTION_MARKS)

    def lengths(self) -> Lengths:
        """Raises NotEnoughData where nobody of one side speaks."""
        doctor, patient = self._widths["assistant"], self._widths["user"]
        if not doctor or not patient:
            raise NotEnoughData(f"{self.talks} talks in '{self.language}' lack one of the sides")
        by_patient = sum(size * count for size, count in patient.items())
        by_doctor = sum(size * count for size, count in doctor.items())
        return Lengths(
            talks=self.talks,
            doctor_turns=dict(sorted(self._turns.items())),
            mean_doctor_turns=sum(n * count for n, count in self._turns.items()) / self.talks,
            median_doctor_width=float(median(doctor.elements())),
            median_patient_width=float(median(patient.elements())),
            patient_share=by_patient / (by_patient + by_doctor),
        )

    def balance(self) -> Balance:
        """Raises NotEnoughData where the doctor never speaks."""
        turns = self._acts.total()
        if not turns:
            raise NotEnoughData(f"no doctor speaks in {self.talks} talks in '{self.language}'")
        asking = self._acts["asks"] + self._acts["both"]
        return Balance(
            turns=turns,
            asks=self._acts["asks"] / turns,
            tells=self._acts["tells"] / turns,
            both=self._acts["both"] / turns,
            questions_per_asking_turn=self._questions / asking if asking else None,
        )


def act_of(text: str) -> str:
    """Whether a doctor's turn `asks`, `tells` or does `both`; short remarks do not count."""
    asks = any(mark in text for mark in QUESTION_MARKS)
    tells = any(
        width(sentence) >= LEAST_WIDTH and not sentence.endswith(QUESTION_MARKS)
        for sentence in sentences(text)
    )
    if asks:
        return "both" if tells else "asks"
    return "tells"


def sentences(text: str) -> list[str]:
    """The sentences of a text with their marks."""
    found, start = [], 0
    for index, mark in enumerate(text):
        inside = mark == "." and text[index + 1 : index + 2].isdigit()
        if mark in SENTENCE_MARKS and not inside:
            found.append(text[start : index + 1].strip())
            start = index + 1
    return [one for one in [*found, text[start:].strip()] if one]


def diversity(samples: Mapping[str, Sequence[Talk]]) -> dict[str, Diversity]:
    """The diversity of groups of talks of one language, by name, on equal amounts of text.

    As many talks of each, and as many tokens, as the smallest group has. Raises NotEnoughData
    where a group has fewer than two talks or no token.
    """
    talks = min((len(sample) for sample in samples.values()), default=0)
    if talks < 2:
        raise NotEnoughData(f"diversity needs two talks of each group, got {talks} of the smallest")
    equal = {name: sample[:talks] for name, sample in samples.items()}
    tokens = {name: [_tokens(talk) for talk in sample] for name, sample in equal.items()}
    budget = min(sum(map(len, lists)) for lists in tokens.values())
    if not budget:
        raise NotEnoughData("diversity needs words, and there are none")
    return {
        name: Diversity(
            talks=talks,
            tokens=budget,
            distinct=_distinct(tokens[name], budget),
            recurring=_recurring(equal[name], tokens[name], elsewhere=False),
            recurring_elsewhere=_recurring(equal[name], tokens[name], elsewhere=True),
        )
        for name in samples
    }


def _tokens(talk: Talk) -> list[str]:
    text = "\n".join(message.content.lower() for message in talk.messages)
    return TOKEN.findall(text)


def _distinct(lists: Sequence[Sequence[str]], budget: int) -> dict[int, float]:
    distinct = {}
    for size in GRAMS:
        left, every = budget, 0
        grams: set[tuple[str, ...]] = set()
        for tokens in lists:
            here = list(islice(tokens, left))
            left -= len(here)
            found = _grams(here, size)
            every += len(found)
            grams.update(found)
        if every:
            distinct[size] = len(grams) / every
    return distinct


def _recurring(talks: Sequence[Talk], lists: Sequence[Sequence[str]], elsewhere: bool) -> float:
    size = PHRASE[talks[0].language]
    phrases = [set(_grams(tokens, size)) for tokens in lists]
    seen: dict[tuple[str, ...], set[str]] = {}
    for number, (talk, own) in enumerate(zip(talks, phrases, strict=True)):
        for phrase in own:
            seen.setdefault(phrase, set()).add(talk.group if elsewhere else str(number))
    shares = [sum(len(seen[phrase]) > 1 for phrase in own) / len(own) for own in phrases if own]
    if not shares:
        raise NotEnoughData(f"no talk is as long as {size} words, so no phrase can recur")
    return sum(shares) / len(shares)


def _grams(tokens: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)]


def figures_of(groups: Mapping[str, Iterable[Talk]]) -> dict[str, dict[Language, TalkFigures]]:
    """Group → language → figures, diversity on equal samples of the groups of a language."""
    counts: dict[str, dict[Language, Counts]] = {name: {} for name in groups}
    for name, talks in groups.items():
        for talk in talks:
            counts[name].setdefault(talk.language, Counts(talk.language)).add(talk)
    found: dict[str, dict[Language, TalkFigures]] = {name: {} for name in groups}
    languages: tuple[Language, ...] = ("en", "zh")
    for language in languages:
        there = {name: by[language] for name, by in counts.items() if language in by}
        enough = {name: one for name, one in there.items() if len(one.sample.talks) > 1}
        diverse = diversity({n: one.sample.talks for n, one in enough.items()}) if enough else {}
        for name, one in enough.items():
            found[name][language] = TalkFigures(
                language=language,
                lengths=one.lengths(),
                balance=one.balance(),
                diversity=diverse[name],
            )
    return found
