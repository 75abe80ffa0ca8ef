import json

import pytest

from datagen.errors import NothingToGenerate
from datagen.generators.building import build_generated, generated_key
from datagen.generators.generator import deal
from datagen.generators.passage import PassageSettings
from datagen.generators.text_checks import TextLimits
from endpoints.errors import BudgetExceeded
from endpoints.settings import Prices
from tests.datagen.generators.test_passage import SETTINGS, TITLE, WORDS, written
from tests.fake_llm import FakeLLM


def test_one_more_row_buys_only_itself(access, workspace):
    with FakeLLM(written) as server:
        build_generated(SETTINGS, access(server.base_url), workspace("few"))
        bought = len(server.requests)
        more = SETTINGS.model_copy(update={"rows": SETTINGS.rows + 1})
        built = build_generated(more, access(server.base_url), workspace("more"))
        assert len(server.requests) == bought + 1
    assert built.summary["from_journal"] == bought


def test_one_language_alone_makes_the_same_rows_of_it(access, workspace):
    with FakeLLM(written) as server:
        build_generated(SETTINGS, access(server.base_url), workspace("both"))
        bought = len(server.requests)
        alone = SETTINGS.model_copy(update={"rows": SETTINGS.rows // 2, "languages": ("zh",)})
        build_generated(alone, access(server.base_url), workspace("alone"))
        assert len(server.requests) == bought


def test_a_second_build_buys_nothing_and_writes_the_same_bytes(access, workspace):
    first, second = workspace("first"), workspace("second")
    with FakeLLM(written) as server:
        build_generated(SETTINGS, access(server.base_url), first)
        bought = len(server.requests)
        build_generated(SETTINGS, access(server.base_url), second)
        assert len(server.requests) == bought
    for name in ("passages.jsonl", "failed.jsonl"):
        assert (first.out / name).read_bytes() == (second.out / name).read_bytes()


def test_the_cap_ends_the_run_and_what_was_bought_is_used_by_the_next(access, workspace):
    prices = Prices(
        input_usd_per_million_tokens=1.0, output_usd_per_million_tokens=1.0, as_of="2026-11-01"
    )
    with FakeLLM(written) as server:
        rich = access(server.base_url, free=False, prices=prices, max_in_flight=1)
        poor = rich.model_copy(update={"budget_usd": 0.007})
        with pytest.raises(BudgetExceeded):
            build_generated(SETTINGS, poor, workspace("poor"))
        bought = len(server.requests)
        built = build_generated(SETTINGS, rich, workspace("rich"))
        assert 0 < bought < built.summary["calls"] == len(server.requests) == SETTINGS.rows
    assert built.counts["accepted"] == SETTINGS.rows


def test_a_near_duplicate_names_the_record_that_is_kept(generate):
    def reply(body):
        text = {"en": WORDS["en"].format("history", 3), "zh": WORDS["zh"].format("病史", 3) * 2}
        language = "zh" if "中文" in body["messages"][0]["content"] else "en"
        tail = {"en": "It ends here.", "zh": "到此为止。"}[language] if body["seed"] % 2 else ""
        return json.dumps({"title": TITLE[language], "text": text[language] + tail})

    limits = TextLimits(min_width=40, max_repeated_share=0.9)
    loose = SETTINGS.model_copy(update={"limits": limits, "most_alike": 0.6})
    made = generate(loose, reply)
    assert made.faults == {"duplicate": 6}
    kept = {record.record_id for record in made.records}
    assert all(any(one in row.detail for one in kept) for row in made.failed)


def test_a_request_that_finally_fails_costs_its_row_alone(generate):
    made = generate(SETTINGS, written, faults=["refused"])
    assert made.faults == {"endpoint_refused": 1}
    assert len(made.records) == 7


@pytest.mark.parametrize(
    ("settings", "style", "languages", "message"),
    [
        (PassageSettings(), "transcript", ("en",), "continues transcripts"),
        (PassageSettings(languages=("zh",)), "chat", ("en",), "are wanted"),
    ],
)
def test_what_cannot_be_made_is_said_before_anything_is_asked(
    access, workspace, settings, style, languages, message
):
    nobody = access("http://127.0.0.1:9/v1", style, languages=languages)
    with pytest.raises(NothingToGenerate, match=message):
        build_generated(settings, nobody, workspace())
    with pytest.raises(NothingToGenerate, match=message):
        generated_key(settings, nobody)


def test_the_key_holds_own_prompts_cases_and_word_lists_and_no_others(access):
    key = generated_key(PassageSettings(), access("http://127.0.0.1:9/v1"))
    assert set(key.prompts) == {"en/chat/passage_text", "zh/chat/passage_text", "topics.yaml"}
    assert {case_id[:2] for case_id in key.cases} == {"en", "zh"}


def test_a_deal_gives_every_option_once_a_round_in_its_own_order():
    rounds = [[deal("abcdefgh", r * 8 + i, "seed") for i in range(8)] for r in range(3)]
    assert all(sorted(one) == list("abcdefgh") for one in rounds)
    assert rounds[0] != rounds[1]
