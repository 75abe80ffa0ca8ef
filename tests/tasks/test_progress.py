import threading

import httpx

from artifacts.progress import Progress
from tasks import progress


def test_a_server_that_fails_keeps_no_step_from_its_work(monkeypatch):
    warned = threading.Event()

    def refuse(*_):
        warned.set()
        raise httpx.ConnectError("gone")

    monkeypatch.setattr(progress, "_show_in_ui", refuse)
    monkeypatch.setattr("prefect.get_run_logger", lambda: FakeLog())
    FakeLog.lines.clear()
    with progress.shown_progress("sft") as sink:
        assert warned.wait(10)
        sink(Progress(1, 2, "steps"))
    assert FakeLog.lines == ["sft: progress is no longer shown: gone"]


class FakeLog:
    lines: list[str] = []

    def warning(self, line):
        self.lines.append(line)
