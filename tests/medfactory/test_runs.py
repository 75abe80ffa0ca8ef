import shutil
import sys
import time
from collections import namedtuple

import httpx
import pytest

from artifacts.errors import NoSpace
from flows.overrides import SettingsError
from medfactory.runs import Request, clear_cause, interrupts_come_again

Usage = namedtuple("Usage", "total used free")


def server_error():
    return httpx.HTTPError("500 Internal Server Error")


def raised_while_handling(error, later):
    with pytest.raises(type(later)) as caught:
        try:
            raise error
        finally:
            raise later
    return caught.value


def test_the_steps_own_error_is_told_though_the_server_failed_after_it(tmp_path):
    own = NoSpace("the disk is full")
    assert clear_cause(raised_while_handling(own, server_error()), tmp_path) is own


def test_a_server_that_fails_on_a_full_disk_is_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100, 100, 0))
    told = clear_cause(server_error(), tmp_path)
    assert isinstance(told, NoSpace)
    assert str(tmp_path) in str(told)
    assert "type the same command" in str(told)


def test_an_error_that_nobody_foresaw_stays_what_it_is(tmp_path):
    odd = raised_while_handling(ValueError("odd"), server_error())
    assert clear_cause(odd, tmp_path) is None
    bug = raised_while_handling(NoSpace("the disk is full"), TypeError("a bug"))
    assert clear_cause(bug, tmp_path) is None


class Dying:
    def __init__(self, error):
        self.error = error

    def __del__(self):
        raise self.error


def test_a_ctrl_c_that_lands_in_a_finalizer_is_not_lost_and_ends_a_wait():
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), interrupts_come_again():
        Dying(KeyboardInterrupt())
        time.sleep(60)
    assert time.monotonic() - started < 30


def test_other_errors_of_finalizers_are_left_to_python(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: seen.append(told.exc_type))
    with interrupts_come_again():
        Dying(ValueError("odd"))
    assert seen == [ValueError]


@pytest.mark.parametrize("cap", [-1.0, float("nan")])
def test_a_cap_that_cannot_be_is_named_as_a_setting_is(cap):
    with pytest.raises(SettingsError, match="budget_usd: .*greater than or equal to 0"):
        Request("small", budget_usd=cap).parameters()
