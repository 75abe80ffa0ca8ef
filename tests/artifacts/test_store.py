import errno
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
from pydantic import BaseModel, Field

from artifacts.digest import digest_file
from artifacts.errors import DamagedArtifact, NoSpace, RowsLost, UnknownArtifact
from artifacts.lineage import ancestors, descendants
from artifacts.manifest import ArtifactRef
from artifacts.step import Built, Step, Workspace, ensure
from artifacts.store import Store


class Settings(BaseModel):
    beta: float = 0.1
    words: str = "hello"
    workers: int = Field(2, json_schema_extra={"result_neutral": True})


def write_words(settings: Settings):
    def build(workspace: Workspace) -> Built:
        (workspace.out / "words.txt").write_text(settings.words)
        return Built(counts={"words": 1})

    return build


def make_step(settings=None, inputs=None, build=None, name="dpo", version=1) -> Step:
    settings = settings or Settings()
    return Step(name, version, "checkpoint", settings, inputs or {}, build or write_words(settings))


def test_the_second_request_for_a_step_reuses_the_first_ones_artifact(tmp_path):
    store = Store(tmp_path)
    first = ensure(store, make_step())
    second = ensure(store, make_step(build=lambda workspace: pytest.fail("built again")))
    assert (first.status, second.status) == ("built", "reused")
    assert first.ref == second.ref
    assert (second.ref.folder / "words.txt").read_text() == "hello"


def test_a_changed_setting_is_named_as_the_reason(tmp_path):
    store = Store(tmp_path)
    assert ensure(store, make_step()).reason == "new: first artifact of this step"
    outcome = ensure(store, make_step(Settings(beta=0.2)))
    assert outcome.reason == "rebuilt: dpo.beta 0.1 → 0.2"


def test_the_reason_compares_with_the_nearest_earlier_artifact(tmp_path):
    store = Store(tmp_path)
    ensure(store, make_step(Settings(beta=0.1, words="a")))
    ensure(store, make_step(Settings(beta=0.5, words="b")))
    assert ensure(store, make_step(Settings(beta=0.1, words="b"))).reason.count("→") == 1


def test_a_changed_input_is_named_as_the_reason(tmp_path):
    store = Store(tmp_path)
    old, new = (ArtifactRef(kind="k", key=d, digest=d, location="") for d in ("a", "b"))
    ensure(store, make_step(inputs={"dataset": old}))
    outcome = ensure(store, make_step(inputs={"dataset": new}))
    assert outcome.reason == "rebuilt: input dataset changed"


def test_an_input_that_comes_or_goes_is_named_as_the_reason(tmp_path):
    store = Store(tmp_path)
    cases = ArtifactRef(kind="k", key="a", digest="a", location="")
    ensure(store, make_step())
    assert ensure(store, make_step(inputs={"cases": cases})).reason == "rebuilt: input cases added"
    ensure(store, make_step(inputs={"cases": cases}, name="rm"))
    assert ensure(store, make_step(name="rm")).reason == "rebuilt: input cases gone"


class Library(BaseModel):
    cases: dict[str, str] = {}
    extra: Settings | None = None
    parts: tuple[Settings, ...] = ()


def test_a_setting_that_is_gone_is_named_as_the_reason(tmp_path):
    store = Store(tmp_path)
    both, one = Library(cases={"a": "1", "b": "2"}), Library(cases={"a": "1"})
    ensure(store, make_step(both, build=lambda workspace: Built()))
    outcome = ensure(store, make_step(one, build=lambda workspace: Built()))
    assert outcome.reason == "rebuilt: dpo.cases.b 2 → (unset)"


def test_a_group_of_settings_that_is_left_out_is_named_by_what_it_held(tmp_path):
    store = Store(tmp_path)
    ensure(store, make_step(Library(extra=Settings()), build=lambda workspace: Built()))
    outcome = ensure(store, make_step(Library(), build=lambda workspace: Built()))
    assert "dpo.extra.beta 0.1 → (unset)" in outcome.reason
    assert "(unset) → (unset)" not in outcome.reason


def test_a_raised_version_rebuilds_and_says_so(tmp_path):
    store = Store(tmp_path)
    ensure(store, make_step())
    assert ensure(store, make_step(version=2)).reason == "rebuilt: dpo.step_version 1 → 2"


def test_a_neutral_setting_changes_no_key():
    assert make_step(Settings(workers=8)).key == make_step(Settings(workers=1)).key
    assert make_step(Settings(beta=0.3)).key != make_step(Settings(beta=0.4)).key


def test_equal_content_from_other_settings_leaves_the_steps_below_alone(tmp_path):
    store = Store(tmp_path)
    one = ensure(store, make_step(Settings(beta=0.1)))
    two = ensure(store, make_step(Settings(beta=0.2)))
    assert one.ref.key != two.ref.key
    assert one.ref.digest == two.ref.digest


def test_volatile_files_stay_out_of_the_content_digest(tmp_path):
    def build_with(noise: str):
        def build(workspace: Workspace) -> Built:
            (workspace.out / "docs").mkdir(exist_ok=True)
            (workspace.out / "docs" / "time.html").write_text(noise)
            (workspace.out / "rows.txt").write_text("rows")
            return Built(volatile=("docs/**",))

        return build

    one = ensure(Store(tmp_path / "1"), make_step(build=build_with("10:00")))
    two = ensure(Store(tmp_path / "2"), make_step(build=build_with("11:00")))
    assert one.ref.digest == two.ref.digest


def test_a_failed_build_publishes_nothing_and_its_state_is_there_for_the_next(tmp_path):
    store = Store(tmp_path)

    def fail(workspace: Workspace) -> Built:
        (workspace.state / "checkpoint").write_text("half")
        raise RuntimeError("power cut")

    def go_on(workspace: Workspace) -> Built:
        (workspace.out / "weights").write_text((workspace.state / "checkpoint").read_text())
        return Built()

    with pytest.raises(RuntimeError, match="power cut"):
        ensure(store, make_step(build=fail))
    assert list(store.manifests()) == []
    outcome = ensure(store, make_step(build=go_on))
    assert (outcome.ref.folder / "weights").read_text() == "half"
    assert outcome.manifest.attempts == 2
    assert list((tmp_path / ".scratch").iterdir()) == []


def test_nothing_that_a_failed_build_wrote_is_published(tmp_path):
    store = Store(tmp_path)

    def fail(workspace: Workspace) -> Built:
        (workspace.out / "half").write_text("old")
        (workspace.out / "words.txt").write_text("old")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        ensure(store, make_step(build=fail))
    ref = ensure(store, make_step()).ref
    assert sorted(p.name for p in ref.folder.iterdir()) == ["manifest.json", "words.txt"]


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


def test_rows_that_do_not_add_up_are_an_error(tmp_path):
    counts = {"rows_in": 10, "accepted": 7, "quarantined": 2}
    with pytest.raises(RowsLost, match="10 rows came in, but 7 accepted \\+ 2 quarantined make 9"):
        ensure(Store(tmp_path), make_step(build=lambda workspace: Built(counts=counts)))


def test_an_artifact_with_a_missing_file_is_built_again(tmp_path):
    store = Store(tmp_path)
    ref = ensure(store, make_step()).ref
    (ref.folder / "words.txt").unlink()
    with pytest.raises(DamagedArtifact, match=r"words\.txt is missing"):
        store.find("checkpoint", ref.key)
    outcome = ensure(store, make_step())
    assert outcome.status == "built"
    assert "words.txt is missing" in outcome.reason
    assert (ref.folder / "words.txt").read_text() == "hello"


def test_an_artifact_with_an_unreadable_manifest_is_built_again_and_stops_no_other(tmp_path):
    store = Store(tmp_path)
    ref = ensure(store, make_step()).ref
    (ref.folder / "manifest.json").write_bytes(b"\xff\x00 half a page of a lost disk")
    assert ensure(store, make_step(Settings(beta=0.2))).status == "built"
    outcome = ensure(store, make_step())
    assert outcome.reason.startswith("rebuilt: ")
    assert "manifest.json cannot be read" in outcome.reason
    assert ensure(store, make_step()).status == "reused"


def test_two_who_find_the_same_damage_build_once(tmp_path):
    store = Store(tmp_path)
    ref = ensure(store, make_step()).ref
    (ref.folder / "words.txt").unlink()
    both_have_looked = threading.Barrier(2)

    def build(workspace: Workspace) -> Built:
        both_have_looked.wait(30)
        (workspace.out / "words.txt").write_text("hello")
        return Built()

    def wait(said: str) -> None:
        if "waiting" in said:
            both_have_looked.wait(30)

    with ThreadPoolExecutor(2) as pool:
        tasks = [pool.submit(ensure, store, make_step(build=build), say=wait) for _ in range(2)]
        assert sorted(task.result(60).status for task in tasks) == ["built", "reused"]


def test_verify_finds_a_changed_byte_of_equal_length(tmp_path):
    store = Store(tmp_path)
    outcome = ensure(store, make_step())
    store.verify(outcome.manifest)
    file = outcome.ref.folder / "words.txt"
    file.chmod(0o644)
    file.write_text("jello")
    with pytest.raises(DamagedArtifact, match="not what was published"):
        store.verify(outcome.manifest)


def test_published_files_are_read_only(tmp_path):
    ref = ensure(Store(tmp_path), make_step()).ref
    assert (ref.folder / "words.txt").stat().st_mode & 0o222 == 0


def test_a_full_disk_says_where_and_what_to_do(tmp_path):
    def fill(workspace: Workspace) -> Built:
        raise OSError(errno.ENOSPC, "No space left on device", str(workspace.out / "big"))

    with pytest.raises(NoSpace, match=r"is full .* while writing .*big.*type the same command"):
        ensure(Store(tmp_path), make_step(build=fill))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_really_full_device_is_named(tmp_path):
    def fill(workspace: Workspace) -> Built:
        (workspace.out / "rows").symlink_to("/dev/full")
        (workspace.out / "rows").write_text("rows")
        return Built()

    with pytest.raises(NoSpace):
        ensure(Store(tmp_path), make_step(build=fill))


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
        "import sys; from pathlib import Path; from tests.artifacts.test_store import *\n"
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
