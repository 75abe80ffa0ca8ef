import json
from pathlib import Path

from typer.testing import CliRunner

from datagen.personas import PersonaSettings, draw_persona, read_own_personas
from medfactory.cli import app
from medfactory.growth import grow_settings

SEEDS = (
    {"system_prompt": "性格特点：急躁，爱插话。\n病情描述：高血压"},
    {"system_prompt": "职业：护士\n性格特点：温和。"},
    {"system_prompt": "随便聊聊。"},
)


def call(seeds, to):
    return CliRunner().invoke(app, ["personas", str(seeds), "--to", str(to)])


def test_role_seeds_become_a_file_of_personas_that_can_be_drawn_from(tmp_path):
    seeds, to = tmp_path / "seeds.jsonl", tmp_path / "personas.jsonl"
    seeds.write_text("".join(json.dumps(row) + "\n" for row in SEEDS))
    done = call(seeds, to)
    assert done.exit_code == 0, done.output
    assert "3 rows: 2 personas (1 clinician, 1 patient)" in done.output
    assert "1 left out (1 no_parts)" in done.output
    assert [p.seat for p in read_own_personas((to,))] == ["patient", "clinician"]
    own = PersonaSettings(plain=0, composed=0, files=(to,))
    assert draw_persona("zh-x", 0, 0, own).manner["zh"] == "为人：急躁，爱插话。"
    failed = (tmp_path / "personas.failed.jsonl").read_text().splitlines()
    assert [json.loads(line)["fault"] for line in failed] == ["no_parts"]


def test_a_file_of_personas_is_never_replaced(tmp_path):
    seeds, to = tmp_path / "seeds.jsonl", tmp_path / "personas.jsonl"
    seeds.write_text(json.dumps(SEEDS[0]))
    to.write_text("mine")
    assert call(seeds, to).exit_code == 1
    assert to.read_text() == "mine"


def test_seeds_that_are_not_there_are_named(tmp_path):
    done = call(tmp_path / "none.jsonl", tmp_path / "personas.jsonl")
    assert done.exit_code == 1
    assert not list(tmp_path.iterdir())


def test_only_the_options_that_are_given_go_over_the_profile(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert grow_settings(None, None, None, None) == {}
    given = grow_settings(3, "zh", [Path("packaged"), Path("mine")], tmp_path / "notes.csv")
    assert given["grow.library"] == ["packaged", str(tmp_path / "mine")]
    assert given["grow.notes.path"] == str(tmp_path / "notes.csv")
