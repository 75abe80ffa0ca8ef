"""What a step of generation is known by: all that decides what it makes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field, JsonValue, SerializeAsAny

from artifacts.digest import digest_json
from artifacts.step import Built
from datagen.access import AgentRole, LlmAccess
from datagen.meter import Meter
from datagen.prompting import Style, prompt_digests
from endpoints.pool import Share
from validation.schemas import Frozen, Language

# Whose text in one language is the other's: prompts are kept for both.
LANGUAGES: tuple[Language, ...] = ("en", "zh")


class GenerationKey(Frozen):
    """A step's settings, and what they stand on.

    `endpoints` are those of its roles, `prompts` the digests of prompts and word lists, `cases`
    those of the cases.
    """

    settings: SerializeAsAny[Frozen]
    endpoints: dict[str, dict[str, Share]]
    prompts: dict[str, str]
    cases: dict[str, str] = Field(default_factory=dict)


def step_key(
    settings: Frozen,
    access: LlmAccess,
    roles: Sequence[AgentRole],
    languages: Sequence[Language],
    word_lists: Sequence[Path] = (),
    cases: Mapping[str, str] | None = None,
    style: Style | None = None,
    prompts: Sequence[str] | None = None,
) -> GenerationKey:
    """The key of a step that asks these roles in these languages.

    `style`: the only one it asks in (None: that of each endpoint, and chat). `prompts`: names
    of the only prompt files it uses (None: all of the style).
    """
    own: set[Style] = {s.endpoint.style for role in roles for s in access.shares(role)} | {"chat"}
    digests: dict[str, str] = {}
    for one in sorted({style} if style else own):
        digests |= prompt_digests(one, tuple(languages))
    if prompts is not None:
        digests = {k: v for k, v in digests.items() if k.rpartition("/")[2] in prompts}
    for path in word_lists:
        digests[path.name] = digest_json(path.read_text(encoding="utf-8"))
    return GenerationKey(
        settings=settings,
        endpoints=access.identity(roles),
        prompts=digests,
        cases=dict(cases or {}),
    )


class Outturn:
    """Counts what a step makes, record by record, for its manifest."""

    def __init__(self) -> None:
        self.made = 0
        self.languages: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    def add(self, language: str) -> None:
        """One record was made."""
        self.made += 1
        self.languages[language] += 1

    def add_failed(self, fault: str) -> None:
        """One was quarantined."""
        self.failed[fault] += 1

    def built(self, meter: Meter, more: Mapping[str, JsonValue]) -> Built:
        """What the step says of its work."""
        failed = self.failed.total()
        summary: dict[str, JsonValue] = {
            "made": self.made,
            "failed": dict(sorted(self.failed.items())),
            "languages": dict(sorted(self.languages.items())),
        }
        counts = {"rows_in": self.made + failed, "accepted": self.made, "quarantined": failed}
        return Built(
            counts=counts,
            summary=summary | meter.summary() | dict(more),
            cost_usd=round(meter.total.cost_usd, 9),
        )
