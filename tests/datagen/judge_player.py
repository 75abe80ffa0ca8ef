"""A fake that plays doctor, teacher and judge for preference pairs, over one HTTP server."""

import json
from collections.abc import Callable
from pathlib import Path

from datagen.cases import Case
from datagen.clinical_errors import read_clinical_errors
from datagen.files import write_lines
from datagen.scripted import scripted_consultation
from tests.datagen.conftest import LIBRARY
from tests.fake_llm import Body

LONG_EN = "I would like to tell you a number of things about this, one after the other. " * 8
LONG_ZH = "这件事我想从头到尾慢慢跟您说上一遍，前前后后都讲一讲。" * 14
# For each typed error a turn that carries it, wherever it can occur.
FLAWED = {
    "en": {
        "missed_red_flag": "How are you sleeping at night, by the way?",
        "unsafe_reassurance": "That is certainly nothing serious at all, I promise.",
        "wrong_dose": "Take 90000 mg of paracetamol every single hour, please.",
        "contraindication_ignored": "Just take whatever you took the last time, it suits you.",
        "wrong_urgency": "Put it off for another month and see how it goes then.",
        "invented_finding": "Your blood test showed a raised marker this morning.",
        "premature_closure": "So that settles it, and there is no more to be said about it.",
        "no_follow_up_question": "Well, these things happen to all of us in the end.",
        "several_questions": "Any fever? Any cough? Any rash? Any travel?",
        "leading_question": "You don't have a fever with it, do you?",
        "ignores_patient": "Let us talk about the weather, what do you make of it?",
        "no_safety_net": "Keep warm and drink enough water every day.",
        "jargon": "An idiopathic dysaesthesia of neuropathic provenance, any paraesthesia?",
        "coldness": "Stop whining now, what else is there?",
        "overlong": LONG_EN.strip(),
    },
    "zh": {
        "missed_red_flag": "对了，您平时晚上几点睡觉呢？",
        "unsafe_reassurance": "这肯定没什么事，您就放一百个心。",
        "wrong_dose": "对乙酰氨基酚每小时吃90000毫克，一直吃下去。",
        "contraindication_ignored": "上回吃的什么药，这回照样接着吃就行。",
        "wrong_urgency": "先拖上一个月，到时候再看看情况吧。",
        "invented_finding": "您今天早上的化验单显示指标升高了。",
        "premature_closure": "那就这么定了，别的都不用再说了。",
        "no_follow_up_question": "唉，这种事情谁都会碰到的。",
        "several_questions": "发烧吗？咳嗽吗？起疹子吗？出过远门吗？",
        "leading_question": "您没有发烧吧？",
        "ignores_patient": "咱们先聊聊天气，您觉得最近怎么样？",
        "no_safety_net": "注意保暖，每天多喝点热水。",
        "jargon": "考虑为特发性神经病理性感觉异常，有无肢端麻木及感觉倒错？",
        "coldness": "别哼哼唧唧的，还有什么？",
        "overlong": LONG_ZH,
    },
}
POOR = {"en": "I am in pain, my chest", "zh": "我的肚子疼得厉害"}
ANSWER = {"en": "The answer to be judged:\nDoctor: ", "zh": "要评判的回答：\n医生："}
SECOND = {"en": "The second answer:\nDoctor: ", "zh": "第二个回答：\n医生："}
GOOD = {
    m.content: case.case_id
    for case in LIBRARY
    for m in scripted_consultation(case).messages
    if m.role == "assistant"
}


def language_of(text: str) -> str:
    return "zh" if "医生" in text else "en"


class JudgePlayer:
    """A doctor who answers poorly, a teacher who writes each error well, and a judge.

    The judge finds in an answer what `names` says of (the error it carries, or "", the body),
    and prefers scripted answers, or, where it is careless, the first.
    """

    def __init__(
        self,
        names: Callable[[str, Body], list[str]] = lambda error, body: [error] if error else [],
        careless: bool = False,
    ) -> None:
        self.names = names
        self.careless = careless

    def __call__(self, body: Body) -> str:
        text = body["messages"][-1]["content"]
        language = language_of(text)
        if "response_format" in body:
            schema = body["response_format"]["json_schema"]["schema"]
            return json.dumps(
                self._grade(text, language, schema, body)
                if "$defs" in schema
                else self._choose(text, language)
            )
        if len(body["messages"]) == 1:
            error = next(e for e in read_clinical_errors() if e.writes[language] in text)
            return FLAWED[language][error.name]
        return POOR["en" if "careful doctor" in body["messages"][0]["content"] else "zh"]

    def _grade(self, text: str, language: str, schema: Body, body: Body) -> Body:
        answer = text.split(ANSWER[language])[1].split("\n")[0]
        carried = next((e for e, flawed in FLAWED[language].items() if flawed == answer), "")
        merit = 4 if answer in GOOD else 1
        names = schema["$defs"]["Scores"]["properties"]
        scores = {
            name: {"reason": "因为", "score": 0 if name == "harmful" else merit} for name in names
        }
        return {"scores": scores, "errors": self.names(carried, body)}

    def _choose(self, text: str, language: str) -> Body:
        second = text.split(SECOND[language])[1].split("\n")[0]
        better = "second" if second in GOOD and not self.careless else "first"
        return {"reason": "因为", "better": better}


def write_talks(folder: Path, cases: tuple[Case, ...]) -> None:
    """The scripted consultations of some cases as an artifact of conversations."""
    folder.mkdir(parents=True, exist_ok=True)
    write_lines(folder / "cases.jsonl", cases)
    write_lines(folder / "conversations.jsonl", [scripted_consultation(case) for case in cases])


def some_cases(each: int) -> tuple[Case, ...]:
    by_language = [[c for c in LIBRARY if c.language == one][:each] for one in ("en", "zh")]
    return (*by_language[0], *by_language[1])
