from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from artifacts.step import Built, Step, ensure
from artifacts.store import Store
from medfactory.cli import app


class Nothing(BaseModel):
    pass


@pytest.fixture
def chain(tmp_path):
    """A store with a data set and a checkpoint made from it."""
    store = Store(tmp_path / "store")

    def build(workspace):
        (workspace.out / "file").write_text("x")
        return Built(counts={"rows": 3})

    dataset = ensure(store, Step("dataset", 1, "dataset", Nothing(), {}, build))
    inputs = {"dataset": dataset.ref}
    checkpoint = ensure(store, Step("sft", 1, "checkpoint", Nothing(), inputs, build))
    return tmp_path, dataset.ref.key, checkpoint.ref.key


def call(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_lineage_lists_what_is_there_with_keys_that_can_be_typed(chain):
    home, dataset, checkpoint = chain
    output = call("lineage", "--home", str(home)).output
    assert f"dataset/{dataset[:12]}" in output
    assert f"checkpoint/{checkpoint[:12]}" in output
    assert "rows 3" in output


def test_lineage_shows_both_ways_from_one_artifact(chain):
    home, dataset, checkpoint = chain
    up = call("lineage", checkpoint[:10], "--home", str(home)).output
    down = call("lineage", dataset[:10], "--home", str(home)).output
    assert f"dataset/{dataset[:12]}" in up.partition("used by")[0]
    assert f"checkpoint/{checkpoint[:12]}" in down.partition("used by")[2]


def test_lineage_of_an_unknown_key_is_an_error(chain):
    result = call("lineage", "zz", "--home", str(chain[0]))
    assert result.exit_code == 1


def test_sweep_says_what_it_freed(tmp_path):
    scratch = Store(tmp_path / "store").scratch("checkpoint", "dead")
    (scratch.state / "half").write_bytes(b"x" * 2**20)
    assert "freed 1.0 MiB" in call("sweep", "--home", str(tmp_path)).output
    assert not Path(scratch.root).exists()


def test_doctor_leaves_with_status_1_where_something_is_bad(tmp_path):
    result = call("doctor", "--endpoint", "nobody", "--home", str(tmp_path))
    assert result.exit_code == 1
    assert "no endpoint is called 'nobody'" in result.output
    assert call("doctor", "--home", str(tmp_path)).exit_code == 0
