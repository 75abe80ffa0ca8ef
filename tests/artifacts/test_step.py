import errno
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import pytest

from artifacts.errors import DamagedArtifact, NoSpace, RowsLost
from artifacts.manifest import code_version, library_versions
from artifacts.step import Built, Workspace, ensure
from artifacts.store import Store
from tests.artifacts.steps import Library, Settings, make_step


def test_the_second_request_for_a_step_reuses_the_first_ones_artifact(tmp_path):
    store = Store(tmp_path)
    first = ensure(store, make_step())
    second = ensure(store, make_step(build=lambda workspace: pytest.fail("built again")))
    assert (first.status, second.status) == ("built", "reused")
    assert first.ref == second.ref
    assert (second.ref.folder / "words.txt").read_text() == "hello"


def test_a_neutral_setting_changes_no_key():
    assert make_step(Settings(workers=8)).key == make_step(Settings(workers=1)).key
    assert make_step(Settings(beta=0.3)).key != make_step(Settings(beta=0.4)).key


def test_a_neutral_setting_inside_lists_and_mappings_changes_no_key():
    def key(**changes):
        part = Settings(**changes)
        return make_step(Library(parts=(part,), named={"a": part})).key

    assert key(workers=8) == key(workers=1)
    assert key(beta=0.3) != key(beta=0.4)


def test_the_work_is_kept_where_the_version_of_the_code_is_unknown(tmp_path, monkeypatch):
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(metadata, "version", absent)
    code_version.cache_clear()
    library_versions.cache_clear()
    try:
        assert ensure(Store(tmp_path), make_step()).manifest.code_version == "unknown"
    finally:
        code_version.cache_clear()
        library_versions.cache_clear()


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
