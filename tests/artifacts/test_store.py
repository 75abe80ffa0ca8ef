import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from artifacts.digest import digest_file
from artifacts.errors import DamagedArtifact, UnknownArtifact
from artifacts.lineage import ancestors, descendants
from artifacts.step import Built, Workspace, ensure
from artifacts.store import Store
from tests.artifacts.steps import Settings, make_step


def test_a_run_killed_just_before_the_rename_leaves_nothing_in_the_way(tmp_path, monkeypatch):
    store = Store(tmp_path / "killed")
    rename = Path.rename

    def die(path, target):
        if path.name == "out":
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", die)
    with pytest.raises(KeyboardInterrupt):
        ensure(store, make_step())
    (left,) = (tmp_path / "killed").glob(".scratch/*/out/words.txt")
    assert left.stat().st_mode & 0o222 == 0
    monkeypatch.undo()

    def write_where_nothing_stands(workspace: Workspace) -> Built:
        with (workspace.out / "words.txt").open("x") as stream:
            stream.write("hello")
        return Built()

    killed = ensure(store, make_step(build=write_where_nothing_stands))
    assert killed.ref.digest == ensure(Store(tmp_path / "whole"), make_step()).ref.digest
    assert store.find("checkpoint", killed.ref.key) == killed.manifest


def test_verify_finds_a_changed_byte_of_equal_length(tmp_path):
    store = Store(tmp_path)
    outcome = ensure(store, make_step())
    store.verify(outcome.manifest)
    file = outcome.ref.folder / "words.txt"
    file.chmod(0o644)
    file.write_text("jello")
    with pytest.raises(DamagedArtifact, match="not what was published"):
        store.verify(outcome.manifest)
    file.unlink()
    with pytest.raises(DamagedArtifact, match="not what was published"):
        store.verify(outcome.manifest)


def test_published_files_are_read_only(tmp_path):
    ref = ensure(Store(tmp_path), make_step()).ref
    assert (ref.folder / "words.txt").stat().st_mode & 0o222 == 0


def test_lineage_goes_up_to_the_sources_and_down_to_the_models(tmp_path):
    store = Store(tmp_path)
    cases = ensure(store, make_step(Settings(words="cases"), name="cases"))
    data = ensure(store, make_step(name="dataset", inputs={"cases": cases.ref}))
    model = ensure(store, make_step(name="sft", inputs={"dataset": data.ref}))
    every = list(store.manifests())
    assert [m.step for m in ancestors(model.manifest, every)] == ["dataset", "cases"]
    assert [m.step for m in descendants(cases.manifest, every)] == ["dataset", "sft"]


def test_a_key_prefix_finds_one_artifact_or_says_which_there_are(tmp_path):
    store = Store(tmp_path)
    ref = ensure(store, make_step()).ref
    assert store.resolve(ref.key[:8]).key == ref.key
    assert store.resolve(f"checkpoint/{ref.key[:8]}").key == ref.key
    with pytest.raises(UnknownArtifact, match="0 artifacts"):
        store.resolve("zz")


def test_sweep_removes_dead_scratch_and_leaves_what_is_being_built(tmp_path):
    store = Store(tmp_path)
    dead = store.scratch("checkpoint", "dead")
    (dead.state / "half").write_bytes(b"x" * 1000)
    alive = store.scratch("checkpoint", "alive")
    with store.lock("checkpoint", "alive"):
        assert store.sweep(older_than_seconds=3600) == 0
        assert store.sweep() == 1000
    assert not dead.root.exists()
    assert alive.root.exists()


def test_sweep_beside_a_build_that_makes_and_removes_files_looks_away(tmp_path):
    store = Store(tmp_path)
    scratch = store.scratch("checkpoint", "alive")
    done = threading.Event()

    def churn() -> None:
        while not done.is_set():
            for i in range(50):
                (scratch.out / f"{i}").touch()
            for i in range(50):
                (scratch.out / f"{i}").unlink()

    with store.lock("checkpoint", "alive"), ThreadPoolExecutor(1) as pool:
        building = pool.submit(churn)
        try:
            assert all(store.sweep() == 0 for _ in range(1000))
        finally:
            done.set()
        building.result(30)


def slow_build(root: str, ready: str) -> None:
    def build(workspace: Workspace) -> Built:
        with (Path(root) / "builds").open("a") as log:
            log.write("built\n")
        Path(ready).touch()
        time.sleep(1)
        (workspace.out / "words.txt").write_text("hello")
        return Built()

    ensure(Store(Path(root)), make_step(build=build))


def test_two_processes_never_build_one_key_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = str(tmp_path / "ready")
    processes = [context.Process(target=slow_build, args=(str(tmp_path), ready)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert (tmp_path / "builds").read_text() == "built\n"


def test_the_one_who_waits_for_a_lock_is_told(tmp_path):
    store = Store(tmp_path)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path; from artifacts.store import Store\n"
            "with Store(Path(sys.argv[1])).lock('k', 'a'):\n"
            "    print('held', flush=True); time.sleep(60)",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout.readline() == b"held\n"
    told = []

    def kill_holder():
        told.append("waiting")
        os.kill(holder.pid, signal.SIGKILL)

    with store.lock("k", "a", on_wait=kill_holder):
        assert told == ["waiting"]
    holder.wait()
    holder.stdout.close()


@pytest.mark.parametrize("delay_seconds", [0.0, 0.02, 0.05, 0.1])
def test_a_build_killed_at_any_moment_leaves_no_artifact_without_its_files(tmp_path, delay_seconds):
    program = (
        "import sys; from pathlib import Path; from artifacts.step import Built, ensure\n"
        "from artifacts.store import Store; from tests.artifacts.steps import make_step\n"
        "def build(w):\n"
        "    print('building', flush=True)\n"
        "    for i in range(300): (w.out / f'{i:03}').write_text(str(i) * 100)\n"
        "    return Built()\n"
        "ensure(Store(Path(sys.argv[1])), make_step(build=build))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE
    )
    process.stdout.readline()
    time.sleep(delay_seconds)
    process.kill()
    process.wait()
    process.stdout.close()
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, capture_output=True)
    store = Store(tmp_path)
    (manifest,) = store.manifests()
    store.verify(manifest)
    assert len(manifest.files) == 300


def test_digests_are_sha256_of_the_whole_file(tmp_path):
    file = tmp_path / "abc"
    file.write_bytes(b"abc")
    assert digest_file(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
