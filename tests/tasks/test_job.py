import shutil
from pathlib import Path

import pytest
from pydantic import BaseModel

from artifacts.errors import StoreError
from artifacts.progress import Progress
from artifacts.step import Built, Workspace
from tasks.child import ChildError
from tasks.job import build_in_child, child_environment, hides_full_disk

FULL = "Error while serializing: I/O error: No space left on device (os error 28)"


class Words(BaseModel):
    text: str = "hello"


def build_words(settings: Words, workspace: Workspace) -> Built:
    workspace.progress(Progress(1, 2, "words", note="half"))
    if settings.text == "bad":
        raise StoreError("this word is not allowed: choose another")
    if settings.text == "too long":
        from safetensors import SafetensorError

        raise SafetensorError(FULL)
    (workspace.out / "words.txt").write_text(
        settings.text + (workspace.inputs["more"] / "more.txt").read_text()
    )
    return Built(counts={"words": 2}, summary={"a": {"b": 1}}, volatile=("log",))


def workspace_in(folder, seen) -> Workspace:
    for name in ("out", "state", "more"):
        (folder / name).mkdir()
    (folder / "more" / "more.txt").write_text(" world")
    return Workspace(folder / "out", folder / "state", {"more": folder / "more"}, seen.append)


def test_a_build_in_a_child_gives_the_same_result_as_here(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    seen = []
    expected = build_words(Words(), workspace_in(here, []))
    built = build_in_child(
        "tests.tasks.test_job:build_words",
        "tests.tasks.test_job:Words",
        Words(),
        workspace_in(there, seen),
    )
    assert built == expected
    assert (there / "out" / "words.txt").read_text() == "hello world"
    assert seen == [Progress(1, 2, "words", note="half")]


def test_a_clear_error_of_the_build_comes_back_as_its_message(tmp_path):
    with pytest.raises(ChildError, match="^this word is not allowed: choose another$"):
        build_in_child(
            "tests.tasks.test_job:build_words",
            "tests.tasks.test_job:Words",
            Words(text="bad"),
            workspace_in(tmp_path, []),
        )


@pytest.mark.parametrize(("visible", "shown"), [(None, "0"), ("2,3", "2"), ("", "")])
def test_a_child_sees_one_gpu_of_those_that_its_parent_may_use(monkeypatch, visible, shown):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert child_environment(1)["CUDA_VISIBLE_DEVICES"] == shown


def test_a_disk_that_is_full_while_weights_are_written_is_named(tmp_path):
    with pytest.raises(ChildError, match="disk of .* is full(.|\n)*type the same command"):
        build_in_child(
            "tests.tasks.test_job:build_words",
            "tests.tasks.test_job:Words",
            Words(text="too long"),
            workspace_in(tmp_path, []),
        )


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
def test_torch_says_nothing_of_the_disk_so_its_free_bytes_decide(tmp_path):
    import torch

    with pytest.raises(RuntimeError) as raised:
        torch.save({"weights": torch.zeros(100_000)}, "/dev/full")
    assert hides_full_disk(raised.value, free_bytes=0)
    assert not hides_full_disk(raised.value, free_bytes=shutil.disk_usage(tmp_path).free)
    assert not hides_full_disk(RuntimeError("CUDA out of memory"), free_bytes=0)
