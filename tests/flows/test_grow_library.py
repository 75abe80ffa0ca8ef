import subprocess
import sys

from artifacts.store import Store
from datagen.cases import PACKAGED, read_libraries, read_library
from tests.datagen.conftest import LIBRARY
from tests.datagen.teacher import Teacher
from tests.fake_llm import FakeLLM

ROWS = 3


def grow(folder, server, *more):
    (folder / "endpoints.yaml").write_text(
        f"endpoints: {{teacher: {{base_url: {server.base_url}, model: fake, free: true}}}}"
    )
    command = [
        *(sys.executable, "-m", "medfactory.cli", "grow", "--home", str(folder / "home")),
        *("--endpoints-file", str(folder / "endpoints.yaml"), *more),
    ]
    return subprocess.run(command, capture_output=True, text=True)


def test_cases_are_drafted_stored_and_copied_where_a_person_says(tmp_path):
    mine = tmp_path / "mine"
    with FakeLLM(Teacher()) as server:
        words = ("--rows", str(ROWS), "--language", "zh", "--into", str(mine))
        done = grow(tmp_path, server, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{ROWS} cases copied into {mine}" in done.stdout
    (manifest,) = Store(tmp_path / "home" / "store").manifests()
    assert (manifest.kind, manifest.counts["accepted"]) == ("cases", ROWS)
    assert len(read_library(mine)) == ROWS
    assert len(read_libraries((PACKAGED, mine))) == len(LIBRARY) + ROWS


def test_what_cannot_be_done_is_said_without_a_traceback(tmp_path):
    with FakeLLM(Teacher()) as server:
        done = grow(tmp_path, server, "--library", str(tmp_path / "nowhere"))
        assert not [seen for seen in server.requests if "completions" in seen.path]
    assert done.returncode == 1
    assert f"no case files en/*.yaml under {tmp_path / 'nowhere'}" in done.stderr
    assert "Traceback" not in done.stderr
