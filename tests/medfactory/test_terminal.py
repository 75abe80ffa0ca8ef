import io

import pytest
from rich.console import Console

from artifacts.progress import Progress
from medfactory.terminal import shown_in_terminal
from tasks.progress import listener, plan


def run_two_steps(console):
    with shown_in_terminal(console) as terminal:
        plan(2)
        watcher = listener.get()
        watcher.step_started("sft")
        watcher.step_says("sft", "sft: rebuilt: sft.epochs 1 → 2")
        for done in range(5):
            watcher.step_progress("sft", Progress(done, 4, "steps", 0.5, "loss 1.2"))
        watcher.step_finished("sft", "sft: built in 3.0 s", reused=False)
        watcher.step_started("dpo")
        watcher.step_finished("dpo", "dpo: reused checkpoint/abc", reused=True)
    return terminal


def test_off_a_terminal_each_step_leaves_its_reason_and_its_end():
    stream = io.StringIO()
    terminal = run_two_steps(Console(file=stream, width=120))
    lines = stream.getvalue()
    assert "sft: rebuilt: sft.epochs 1 → 2" in lines
    assert "✓ sft: built in 3.0 s" in lines
    assert "= dpo: reused checkpoint/abc" in lines
    assert (terminal.reused, terminal.built, terminal.planned) == (1, 1, 2)


def test_on_a_terminal_the_bar_shows_stage_count_rate_cost_and_time_left():
    stream = io.StringIO()
    console = Console(file=stream, width=160, force_terminal=True)
    with shown_in_terminal(console) as terminal:
        plan(3)
        watcher = listener.get()
        watcher.step_started("conversations")
        for done in range(4):
            watcher.step_progress("conversations", Progress(done, 8, "talks", 0.25, "2 failed"))
        terminal.bars.refresh()
    shown = stream.getvalue()
    for part in ("[1/3] conversations", "3/8", "talks/min", "$0.2500", "2 failed", "left"):
        assert part in shown, part


@pytest.mark.parametrize("names_page", [True, False])
def test_the_page_of_the_run_is_named_where_it_outlives_the_run(names_page):
    stream = io.StringIO()
    with shown_in_terminal(Console(file=stream, width=120), names_page):
        listener.get().plan(2, "http://127.0.0.1:4200/runs/flow-run/1")
    assert ("Flow run: http://127.0.0.1:4200/runs/flow-run/1" in stream.getvalue()) is names_page


def test_nobody_listens_after_the_run():
    run_two_steps(Console(file=io.StringIO()))
    assert listener.get() is None


def test_a_step_that_fails_and_is_tried_again_is_counted_once():
    stream = io.StringIO()
    with shown_in_terminal(Console(file=stream, width=120)) as terminal:
        plan(1)
        watcher = listener.get()
        watcher.step_started("sft")
        watcher.step_failed("sft", "the child was killed")
        watcher.step_started("sft")
        watcher.step_finished("sft", "sft: built in 1.0 s", reused=False)
    assert "✗ sft: the child was killed" in stream.getvalue()
    assert (terminal.begun, terminal.built, terminal.rows) == (1, 1, {})
