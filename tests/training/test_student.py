import json

import pytest

from engines.errors import ChatError, LoadError
from tests.tiny_model import tiny_model
from tests.training.conftest import workspace
from training.errors import WrongInput
from training.student import build_student, describe_student


def test_a_folder_of_ones_own_becomes_the_student(student, tmp_path):
    built = build_student(describe_student(student / "model"), workspace(tmp_path))
    kept = {path.name for path in (tmp_path / "out" / "model").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= kept
    assert built.summary["architecture"] == "LlamaForCausalLM"
    assert built.summary["parameters"] == 26912


def test_pickled_weights_and_other_files_stay_outside(tmp_path):
    source = tiny_model(tmp_path / "source")
    (source / "pytorch_model.bin").write_bytes(b"pickle")
    (source / "modeling.py").write_text("raise SystemExit")
    build_student(describe_student(source), workspace(tmp_path / "run"))
    kept = {path.name for path in (tmp_path / "run" / "out" / "model").iterdir()}
    assert not kept & {"pytorch_model.bin", "modeling.py"}


def test_leftovers_of_a_killed_attempt_go(student, tmp_path):
    place = workspace(tmp_path)
    (place.out / "model").mkdir()
    (place.out / "model" / "half.safetensors").write_bytes(b"")
    build_student(describe_student(student / "model"), place)
    assert not (place.out / "model" / "half.safetensors").exists()


def test_the_digest_follows_the_content_not_the_place(tmp_path):
    one, two = (tiny_model(tmp_path / name) for name in ("one", "two"))
    assert describe_student(one).digest == describe_student(two).digest
    config = json.loads((two / "config.json").read_text())
    (two / "config.json").write_text(json.dumps({**config, "rope_theta": 1.0}))
    assert describe_student(one).digest != describe_student(two).digest


def test_a_source_that_changed_since_is_refused(tmp_path):
    source = tiny_model(tmp_path / "source")
    settings = describe_student(source)
    (source / "config.json").write_text("{}")
    with pytest.raises(WrongInput, match="type the command again"):
        build_student(settings, workspace(tmp_path / "run"))


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(WrongInput, match="neither a GGUF file nor a folder"):
        describe_student(tmp_path)
    with pytest.raises(WrongInput, match="neither a GGUF file nor a folder"):
        describe_student(tmp_path / "absent")
    (tmp_path / "note.txt").write_text("hello")
    with pytest.raises(LoadError, match="no GGUF file"):
        build_student(describe_student(tmp_path / "note.txt"), workspace(tmp_path / "run"))


def test_a_model_without_a_chat_template_is_refused(tmp_path):
    source = tiny_model(tmp_path / "source", chat_template=None)
    with pytest.raises(ChatError, match="no chat template"):
        build_student(describe_student(source), workspace(tmp_path / "run"))
