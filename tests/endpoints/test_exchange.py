import asyncio
import hashlib
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pyarrow.parquet as pq
import pytest

from endpoints.exchange import Choice, ExchangeError, bring, export, prune, weigh
from endpoints.journal import Journal
from tests.endpoints.test_journal import entry

LONG_AGO = "2020-01-01T00:00:00+00:00"


def row(name, model="big", **changes):
    request = json.dumps({"model": model, "name": name})
    digest = hashlib.sha256(request.encode()).hexdigest()
    return replace(entry(digest), request=request, **changes)


ROWS = (
    row("a", created_at=LONG_AGO),
    row("b", fault="truncated", cost_usd=0.5),
    row("c", model="small", fault="empty", text="发烧三天"),
    row("d", endpoint="judge", created_at=LONG_AGO),
)
A, B, C, D = (one.digest for one in ROWS)


def fill(path, rows=ROWS, used=()):
    with Journal(path) as journal:

        async def put():
            for one in rows:
                await journal.put(one)

        asyncio.run(put())
        for digest in used:
            journal.used(digest)
    return path


@pytest.fixture
def path(tmp_path):
    return fill(tmp_path / "journal.sqlite", used=[D, D])


def digests(path):
    with Journal(path) as journal:
        return {found[0] for found in journal.read("SELECT digest FROM completions")}


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        (Choice(), {A, B, C, D}),
        (Choice(endpoint="judge"), {D}),
        (Choice(model="small"), {C}),
        (Choice(since=date(2026, 11, 1)), {B, C}),
        (Choice(fault="truncated"), {B}),
        (Choice(fault="any"), {B, C}),
        (Choice(fault="any", model="big"), {B}),
        (Choice(unused_days=30), {A}),  # b and c are young, d was used a moment ago
        (Choice(endpoint="nobody"), set()),
    ],
)
def test_an_export_holds_the_rows_that_fit_all_that_is_given(tmp_path, choice, chosen):
    recent = datetime.now(UTC) - timedelta(days=1)
    young = [replace(one, created_at=recent.isoformat()) for one in ROWS[1:3]]
    path = fill(tmp_path / "j.sqlite", [ROWS[0], *young, ROWS[3]], used=[D])
    with Journal(path) as journal:
        assert weigh(journal, choice).rows == len(chosen)
        assert export(journal, choice, tmp_path / "out.jsonl") == len(chosen)
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["digest"] for line in lines} == chosen
    assert list(tmp_path.glob("*.part")) == []


def test_parquet_holds_the_same_as_jsonl(path, tmp_path):
    with Journal(path) as journal:
        export(journal, Choice(), tmp_path / "out.jsonl")
        export(journal, Choice(), tmp_path / "out.parquet")
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.to_pylist() == [json.loads(line) for line in lines]
    assert {r["digest"]: r["hits"] for r in table.to_pylist()}[D] == 2
    assert "发烧三天" in table.column("text").to_pylist()


def test_an_export_of_another_kind_or_to_nowhere_leaves_nothing_behind(path, tmp_path):
    with Journal(path) as journal:
        with pytest.raises(ExchangeError, match=r"give \.jsonl or \.parquet"):
            export(journal, Choice(), tmp_path / "out.csv")
        (tmp_path / "file").write_text("")
        with pytest.raises(ExchangeError, match="could not be written"):
            export(journal, Choice(), tmp_path / "file" / "out.jsonl")


def test_pruning_removes_the_rows_and_their_hits_and_gives_the_space_back(tmp_path):
    big = [row(str(i), text="x" * 10_000, created_at=LONG_AGO) for i in range(300)]
    path = fill(tmp_path / "j.sqlite", [*big, *ROWS[1:3]], used=[big[0].digest, B])
    with Journal(path) as journal:
        journal_size = path.stat().st_size
        done = prune(journal, Choice(model="big"))
    assert done.removed.rows == 301
    assert done.removed.cost_usd == pytest.approx(300 * 0.25 + 0.5)
    assert digests(path) == {C}
    assert path.stat().st_size < journal_size / 10
    assert done.after_bytes < done.before_bytes
    with Journal(path) as journal:
        assert journal.read("SELECT digest FROM uses") == []


def test_pruning_is_refused_while_another_process_has_the_journal_or_nothing_is_chosen(path):
    with Journal(path) as journal:
        with pytest.raises(ExchangeError, match="nothing is chosen"):
            prune(journal, Choice())
        with Journal(path), pytest.raises(ExchangeError, match="another process"):
            prune(journal, Choice(fault="any"))
    assert len(digests(path)) == 4


def test_rows_from_another_machine_come_in_once(path, tmp_path):
    better = replace(ROWS[1], fault=None, text="whole")
    other = fill(tmp_path / "other.sqlite", [row("new"), better, row("a", text="of the other")])
    with Journal(other) as journal:
        export(journal, Choice(), tmp_path / "rows.jsonl")
    with Journal(path) as journal:
        brought = bring(journal, tmp_path / "rows.jsonl")
        assert (brought.new, brought.better, brought.known) == (1, 1, 1)
        assert journal.get(row("new").digest) == row("new")
        assert journal.get(B).text == "whole"
        assert journal.get(A).text == "answer"  # the one that is here stays
        assert journal.read("SELECT * FROM ledger") == []
        again = bring(journal, tmp_path / "rows.jsonl")
        assert (again.new, again.better, again.known) == (0, 0, 3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda line: line[:40], r"line 2: the line: Invalid JSON"),
        (lambda line: line.replace('"attempts"', '"attemps"'), r"line 2: attempts: Field required"),
        (lambda line: line.replace("truncated", "bored"), r"line 2: fault: Input should be"),
        (lambda line: line.replace("name", "nam3"), r"line 2: .*digest is not that of the request"),
    ],
)
def test_a_damaged_line_is_named_and_nothing_is_taken_in(path, tmp_path, change, said):
    with Journal(path) as journal:
        export(journal, Choice(), tmp_path / "rows.jsonl")
        lines = (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()
        ordered = sorted(lines, key=lambda line: "truncated" in line)
        text = "\n".join([ordered[0], change(ordered[-1])])
        (tmp_path / "bad.jsonl").write_text(text, encoding="utf-8")
        with Journal(tmp_path / "empty.sqlite") as empty:
            with pytest.raises(ExchangeError, match=said):
                bring(empty, tmp_path / "bad.jsonl")
            assert empty.totals().completions == 0


def test_a_file_that_is_absent_is_named(journal, tmp_path):
    with pytest.raises(ExchangeError, match=r"gone\.jsonl cannot be read"):
        bring(journal, tmp_path / "gone.jsonl")
