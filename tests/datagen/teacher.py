"""A fake teacher that drafts sound cases: those of the library, moved into the cell asked for."""

import json
import re
from collections.abc import Callable
from typing import Any

from artifacts.digest import digest_json
from datagen.case_drafts import draft_of
from datagen.cases import Case
from datagen.grid import Cell, cell_of
from tests.datagen.conftest import LIBRARY
from tests.fake_llm import Body

Draft = dict[str, Any]
CELL = {
    "en": re.compile(r"- specialty: (.+)\n- urgency: (\w+) .*\n- patient: (\w+), (.+)"),
    "zh": re.compile(r"specialty）：(.+)\n.*urgency）：(\w+)（.*\n- 患者：.（(\w+)），(.+)"),
}
AGES = {
    "infant": (0.5, "under 1", "不满1"),
    "child": (6, "1 to 11", "1至11"),
    "adolescent": (15, "12 to 17", "12至17"),
    "adult": (30, "18 to 39", "18至39"),
    "middle": (50, "40 to 64", "40至64"),
    "older": (70, "65 years", "65岁及"),
}
WORDS = {
    "en": [
        "lately",
        "sore",
        "tired",
        "warm",
        "itchy",
        "slow",
        "heavy",
        "cold",
        "strange",
        "dull",
        "numb",
        "stiff",
        "shaky",
        "dry",
    ],
    "zh": list("最近总是有点沉闷酸胀没劲发凉痒麻木僵硬干涩"),
}


def part_of(body: Body) -> str:
    """Which answer is asked for: truth, wording or repair (the whole draft)."""
    wanted = body["response_format"]["json_schema"]["schema"]["properties"]
    return "repair" if "wording" in wanted else "wording" if "facts" in wanted else "truth"


def cell_asked(prompt: str) -> tuple[str, Cell]:
    """The language and the cell of a prompt for a truth."""
    language = "zh" if "临床真相" in prompt else "en"
    found = CELL[language].search(prompt)
    assert found, prompt[:600]
    band = next(b for b, (_, *texts) in AGES.items() if any(found[4].startswith(t) for t in texts))
    return language, Cell.model_validate(
        {"specialty": found[1], "urgency": found[2], "age_band": band, "sex": found[3]}
    )


def drafted(language: str, cell: Cell) -> Draft:
    """A sound draft for a cell, unlike any other: of a case as urgent, of another specialty."""
    base = next(
        case
        for case in LIBRARY
        if case.language == language
        and cell_of(case).urgency == cell.urgency
        and case.specialty != cell.specialty
    )
    return moved(base, cell)


def moved(base: Case, cell: Cell) -> Draft:
    draft: Draft = draft_of(base).model_dump(mode="json")
    digest = digest_json(cell.name)
    words = [WORDS[base.language][int(d, 16) % len(WORDS[base.language])] for d in digest[:16]]
    joined = "，".join(words) + "。" if base.language == "zh" else " ".join(words) + "."
    truth, wording = draft["truth"], draft["wording"]
    truth |= {"specialty": cell.specialty, "urgency": cell.urgency}
    truth["patient"] |= {"sex": cell.sex, "age_years": AGES[cell.age_band][0]}
    truth["diagnosis"] = {"name": f"Q{digest[:6]}", "names": [f"Q{digest[:6]}"]}
    wording["opening"] = joined
    return draft


class Teacher:
    """Answers every call for a draft; `spoil` changes drafts, `mend` those that are repaired."""

    def __init__(
        self,
        spoil: Callable[[Draft], None] = lambda draft: None,
        mend: Callable[[Draft], None] = lambda draft: None,
    ) -> None:
        self.spoil, self.mend = spoil, mend
        self.asked: list[str] = []
        self.drafts: dict[str, Draft] = {}

    def __call__(self, body: Body) -> str:
        prompt, part = body["messages"][0]["content"], part_of(body)
        self.asked.append(part)
        if part == "truth":
            draft = self.draft(prompt)
            self.spoil(draft)
            self.drafts[draft["truth"]["diagnosis"]["name"]] = draft
            return json.dumps(draft["truth"], ensure_ascii=False)
        draft = next(d for name, d in self.drafts.items() if f'"name": "{name}"' in prompt)
        if part == "wording":
            return json.dumps(draft["wording"], ensure_ascii=False)
        assert part == "repair"
        self.mend(draft)
        return json.dumps(draft, ensure_ascii=False)

    def draft(self, prompt: str) -> Draft:
        return drafted(*cell_asked(prompt))
