import json

import pytest
import yaml

from datagen.case_growth import (
    GrowSettings,
    build_growth,
    copy_cases,
    growth_key,
    write_case,
)
from datagen.cases import LIBRARY as PACKAGED_FOLDER
from datagen.cases import PACKAGED, Case, CaseError, read_libraries
from datagen.consultations import GenerateSettings, conversations_key
from datagen.errors import NothingToGenerate
from datagen.files import read_cases
from datagen.grid import cell_of, empty_cells
from tests.datagen.conftest import LIBRARY, case_of
from tests.datagen.teacher import Teacher
from tests.fake_llm import FakeLLM
from validation.schemas import Quarantined

ROWS = 6
LANGUAGES = ("en", "zh")


def failed(place):
    lines = (place.out / "failed.jsonl").read_text(encoding="utf-8").splitlines()
    return [Quarantined.model_validate_json(line) for line in lines]


@pytest.mark.parametrize("language", LANGUAGES)
def test_sound_drafts_fill_the_next_empty_cells_and_are_marked(access, workspace, language):
    place = workspace()
    settings = GrowSettings(rows=ROWS, language=language)
    with FakeLLM(Teacher()) as server:
        built = build_growth(settings, access(server.base_url), place)
    assert built.counts == {"rows_in": ROWS, "accepted": ROWS, "quarantined": 0}, failed(place)
    cases = read_cases(place.out).values()
    cells = empty_cells(LIBRARY, language)
    assert {cell_of(case) for case in cases} == {next(cells) for _ in range(ROWS)}
    for case in cases:
        assert case.sources == ("drafted by fake, not reviewed",)
        assert case.reviewed is False
    before = built.summary["cells_filled_before"]
    assert built.summary["cells_filled"] == before + ROWS


def test_the_artifact_is_a_library_that_stands_beside_the_packaged_one(access, workspace):
    place = workspace()
    with FakeLLM(Teacher()) as server:
        asked = access(server.base_url)
        build_growth(GrowSettings(rows=2), asked, place)
    assert {c.case_id for c in read_libraries((PACKAGED, place.out))} == {
        case.case_id for case in (*LIBRARY, *read_libraries(place.out))
    }
    both = GenerateSettings(library=(PACKAGED, place.out))
    assert len(conversations_key(both, asked).cases) == len(LIBRARY) + 2
    assert len(conversations_key(GenerateSettings(library=place.out), asked).cases) == 2


def test_the_packaged_library_is_left_as_it_was(access, workspace):
    files = {path: path.read_bytes() for path in PACKAGED_FOLDER.rglob("*.yaml")}
    with FakeLLM(Teacher()) as server:
        build_growth(GrowSettings(rows=2), access(server.base_url), workspace())
    assert {path: path.read_bytes() for path in PACKAGED_FOLDER.rglob("*.yaml")} == files


def test_one_more_row_buys_that_row_alone_and_nothing_is_bought_twice(access, workspace):
    first, second = workspace("first"), workspace("second")
    with FakeLLM(Teacher()) as server:
        asked = access(server.base_url)
        build_growth(GrowSettings(rows=3), asked, first)
        assert len(server.requests) == 6
        build_growth(GrowSettings(rows=4), asked, second)
        assert len(server.requests) == 8
    one, other = ((p.out / "cases.jsonl").read_text().splitlines() for p in (first, second))
    assert other[:3] == one


def spoil_dose(draft):
    draft["truth"]["treatments"] = [
        {
            "drug": "paracetamol",
            "dose": 5000,
            "unit": "mg",
            "route": "by mouth",
            "doses_a_day": 1,
            "least_dose": 500,
            "most_dose": 1000,
            "most_a_day": 4000,
            "source": "BNF",
        }
    ]


def mend_dose(draft):
    draft["truth"]["treatments"][0]["dose"] = 500


def name_the_diagnosis(draft):
    draft["wording"]["facts"][0]["answer"] += f" It is {draft['truth']['diagnosis']['name']}."


def change_the_age(draft):
    draft["truth"]["patient"]["age_years"] = 108 - draft["truth"]["patient"]["age_years"]


def lose_the_words(draft):
    draft["wording"]["facts"][1]["topic_words"] = ["zebra"]


def ask_twice(draft):
    for fact in draft["wording"]["facts"][1:]:
        fact["question"] = 2 * draft["wording"]["facts"][0]["question"]
        fact["topic_words"] = draft["wording"]["facts"][0]["topic_words"]


UNSOUND = [
    (spoil_dose, "dose_out_of_range"),
    (name_the_diagnosis, "diagnosis_named"),
    (change_the_age, "off_cell"),
    (lose_the_words, "words_do_not_match"),
    (ask_twice, "script_loop"),
]


@pytest.mark.parametrize(("spoil", "fault"), UNSOUND, ids=lambda v: getattr(v, "__name__", v))
@pytest.mark.parametrize("language", LANGUAGES)
def test_an_unsound_draft_is_quarantined_under_its_fault(access, workspace, spoil, fault, language):
    place = workspace()
    settings = GrowSettings(rows=2, language=language)
    with FakeLLM(teacher := Teacher(spoil)) as server:
        built = build_growth(settings, access(server.base_url), place)
    assert built.counts == {"rows_in": 2, "accepted": 0, "quarantined": 2}
    assert built.summary["failed"] == {fault: 2}
    assert sorted(teacher.asked) == sorted(["truth", "wording", "repair"] * 2)
    row = failed(place)[0]
    assert row.origin.startswith(f"{language}/")
    assert json.loads(row.raw)["draft"]["truth"]
    assert not list(place.out.rglob("*.yaml"))


def test_a_draft_is_repaired_once_with_its_faults_shown(access, workspace):
    place = workspace()
    with FakeLLM(teacher := Teacher(spoil_dose, mend_dose)) as server:
        built = build_growth(GrowSettings(rows=1), access(server.base_url), place)
        repair = server.requests[-1].body["messages"][0]["content"]
    assert built.counts["accepted"] == 1
    assert teacher.asked == ["truth", "wording", "repair"]
    assert "dose_out_of_range: treatments.0: paracetamol: a dose of 5000 mg" in repair
    assert next(iter(read_cases(place.out).values())).treatments[0].dose == 500


def test_what_the_endpoint_fails_at_is_quarantined_too(access, workspace):
    place = workspace()
    with FakeLLM(Teacher(), faults=["refused"]) as server:
        built = build_growth(GrowSettings(rows=2), access(server.base_url, max_in_flight=1), place)
    assert built.counts == {"rows_in": 2, "accepted": 1, "quarantined": 1}
    assert built.summary["failed"] == {"endpoint_refused": 1}


def test_two_drafts_that_say_the_same_are_kept_once(access, workspace):
    place = workspace()

    def same_opening(draft):
        draft["wording"]["opening"] = "Both of us say just this."

    with FakeLLM(Teacher(same_opening)) as server:
        built = build_growth(GrowSettings(rows=3), access(server.base_url), place)
    assert built.counts == {"rows_in": 3, "accepted": 1, "quarantined": 2}
    (kept,) = read_cases(place.out)
    assert [row.fault for row in failed(place)] == ["duplicate"] * 2
    assert failed(place)[0].detail == f"repeats the opening of {kept}"


def test_a_truth_is_asked_for_with_an_example_and_the_diagnoses_that_are_there(access, workspace):
    with FakeLLM(Teacher()) as server:
        build_growth(GrowSettings(rows=45, language="zh"), access(server.base_url), workspace())
        prompts = [r.body["messages"][0]["content"] for r in server.requests]
    shown = [p for p in prompts if "临床真相" in p]
    known = {c.diagnosis.name for c in LIBRARY if c.language == "zh"}
    assert all(any(f'"title": "{c.title}"' in p for c in LIBRARY) for p in prompts)
    assert any(f"- {name}\n" in prompt for prompt in shown for name in known)


def test_an_endpoint_that_cannot_draft_is_named_before_anything_is_sent(access):
    with pytest.raises(NothingToGenerate, match=r"transcripts.*roles\.teacher"):
        growth_key(GrowSettings(), access("http://127.0.0.1:9/v1", "transcript"))
    english = access("http://127.0.0.1:9/v1", languages=("en",))
    with pytest.raises(NothingToGenerate, match=r"grow\.language"):
        growth_key(GrowSettings(language="zh"), english)


def test_more_rows_than_empty_cells_are_refused(access, workspace):
    with pytest.raises(NothingToGenerate, match="only 13.. of 1409 cells are empty"):
        build_growth(GrowSettings(rows=5000), access("http://127.0.0.1:9/v1"), workspace())


def test_the_key_follows_the_library_and_not_where_it_stands(access, tmp_path):
    asked = access("http://127.0.0.1:9/v1")
    for name in ("a", "b"):
        (tmp_path / name / "en").mkdir(parents=True)
        write_case(tmp_path / name / "en" / "one.yaml", case_of("en"))
    keys = [growth_key(GrowSettings(library=tmp_path / name), asked) for name in ("a", "b")]
    assert keys[0].cases == keys[1].cases != growth_key(GrowSettings(), asked).cases
    assert "drug_names.yaml" in keys[0].prompts
    assert "en/chat/case_truth" in keys[0].prompts


def test_copies_never_go_over_a_file(tmp_path):
    (tmp_path / "made" / "en").mkdir(parents=True)
    for name in ("one", "two"):
        write_case(tmp_path / "made" / "en" / f"{name}.yaml", case_of("en"))
    (tmp_path / "mine" / "en").mkdir(parents=True)
    mine = tmp_path / "mine" / "en" / "one.yaml"
    mine.write_text("edited by a clinician")
    assert copy_cases(tmp_path / "made", tmp_path / "mine") == (1, 1)
    assert mine.read_text() == "edited by a clinician"
    assert copy_cases(tmp_path / "made", tmp_path / "mine") == (0, 2)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_case_reads_back_from_its_file_as_it_was(tmp_path, language):
    case = case_of(language)
    write_case(tmp_path / "case.yaml", case)
    values = yaml.safe_load((tmp_path / "case.yaml").read_text(encoding="utf-8"))
    assert Case.model_validate(values) == case


def test_a_case_id_in_two_folders_is_named(tmp_path):
    (tmp_path / "en").mkdir()
    write_case(tmp_path / "en" / "one.yaml", case_of("en"))
    with pytest.raises(CaseError, match=case_of("en").case_id):
        read_libraries((PACKAGED, tmp_path))
    with pytest.raises(CaseError, match="no case"):
        read_libraries((PACKAGED, tmp_path / "absent"))
