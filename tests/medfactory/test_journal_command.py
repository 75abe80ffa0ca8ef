import asyncio
import subprocess
import sys
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from endpoints.budget import Budget
from endpoints.journal import Journal
from medfactory.cli import app
from tests.endpoints.test_exchange import ROWS, digests, fill


@pytest.fixture
def home(tmp_path):
    fill(tmp_path / "journal.sqlite", used=[ROWS[0].digest] * 3)
    return tmp_path


def call(*arguments, home=None):
    place = ["--home", str(home)] if home else []
    return CliRunner().invoke(app, ["journal", *arguments, *place], env={"COLUMNS": "160"})


def test_showing_is_what_happens_without_a_sub_command(home):
    with Journal(home / "journal.sqlite") as journal, Budget(journal, 1.0, "project") as budget:

        async def spend():
            await journal.write(budget.settle(await budget.reserve(0.5), 0.125))

        asyncio.run(spend())
    shown = call("show", home=home)
    assert call(home=home).output == shown.output
    text = " ".join(shown.output.split())
    for part in (
        "4 answers in",
        "They cost $1.2500. 3 requests were answered from them, which saved $0.7500.",
        "teacher big 2 6 10 0.7500 3 0.7500",
        "truncated 1 0.5000",
        "project 0.1250 0.0000",
        "bought from 2020-01-01 to 2026-11-24",
    ):
        assert part in text


def test_no_figure_is_cut_in_a_narrow_terminal(tmp_path):
    many = [replace(ROWS[0], prompt_tokens=4_567_890, cost_usd=98_765.43)]
    path = fill(tmp_path / "journal.sqlite", many, used=[ROWS[0].digest] * 12)
    with Journal(path) as journal:
        sums = "('all', 87654000000000, 76543000000000)"
        asyncio.run(journal.write(lambda c: c.execute(f"INSERT INTO ledger VALUES {sums}")))
    output = (
        CliRunner()
        .invoke(app, ["journal", "show", "--home", str(tmp_path)], env={"COLUMNS": "80"})
        .output
    )
    assert "…" not in output
    for figure in ("teacher", "4,567,890", "98,765.43", "1,185,185.16", "87,654.00"):
        assert figure in output
    assert "batches $" in output


@pytest.mark.parametrize(
    "arguments", [("show",), ("export", "x.jsonl"), ("prune", "--fault", "any")]
)
def test_a_journal_that_is_absent_is_said_and_not_made(tmp_path, arguments):
    done = call(*arguments, home=tmp_path / "nowhere")
    assert done.exit_code == 1
    assert "nothing was bought there yet" in done.output
    assert not (tmp_path / "nowhere").exists()


def test_pruning_without_yes_says_what_it_would_cost_and_removes_nothing(home):
    said = call("prune", "--fault", "any", home=home)
    assert said.exit_code == 0
    assert "2 rows would go" in said.output
    assert "$0.7500" in said.output
    assert len(digests(home / "journal.sqlite")) == 4
    done = call("prune", "--fault", "any", "--yes", home=home)
    assert "2 rows removed" in done.output
    assert len(digests(home / "journal.sqlite")) == 2


def test_pruning_wants_to_be_told_what_and_to_be_alone(home):
    nothing = call("prune", "--yes", home=home)
    assert nothing.exit_code == 1
    assert "Say which rows" in nothing.output
    with Journal(home / "journal.sqlite"):
        held = call("prune", "--fault", "any", "--yes", home=home)
    assert held.exit_code == 1
    assert "another process has the journal" in held.output
    assert len(digests(home / "journal.sqlite")) == 4


def test_rows_travel_from_one_home_to_another(home, tmp_path):
    rows = tmp_path / "rows.jsonl"
    assert "1 rows written" in call("export", str(rows), "--endpoint", "judge", home=home).output
    other = tmp_path / "other"
    assert "1 new rows" in call("import", str(rows), home=other).output
    assert digests(other / "journal.sqlite") == {ROWS[3].digest}
    bad = call("import", str(tmp_path / "gone.jsonl"), home=other)
    assert bad.exit_code == 1
    assert "cannot be read" in bad.output


def test_a_home_before_the_sub_command_is_not_ignored_in_silence(home):
    done = CliRunner().invoke(app, ["journal", "--home", str(home), "show"])
    assert done.exit_code == 2
    assert "behind the sub-command" in done.output


def test_the_command_line_loads_nothing_heavy_before_it_is_needed():
    code = (
        "import sys, medfactory.cli; "
        "print([m for m in ('pyarrow', 'pydantic', 'sqlite3', 'rich.table', 'prefect', 'openai') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.strip()
    assert "pyarrow" not in loaded
    assert "prefect" not in loaded
    assert "pydantic" not in loaded
    assert "openai" not in loaded
