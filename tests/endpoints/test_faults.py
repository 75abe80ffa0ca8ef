import random
from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints.errors import FaultName
from endpoints.faults import (
    POLICIES,
    backoff_seconds,
    name_answer,
    name_status,
    retry_after_seconds,
)


def test_every_fault_has_a_policy():
    assert set(POLICIES) == set(get_args(FaultName))


@pytest.mark.parametrize(
    ("status", "code", "fault"),
    [
        (400, "", "bad_request"),
        (400, "content_filter", "content_filter"),
        (401, "", "authentication"),
        (402, "", "quota"),
        (403, "", "authentication"),
        (404, "", "model_unknown"),
        (408, "", "timeout"),
        (422, "", "bad_request"),
        (429, "", "rate_limit"),
        (429, "insufficient_quota", "quota"),
        (500, "", "server"),
        (503, "", "server"),
        (529, "", "server"),
    ],
)
def test_a_status_is_named(status, code, fault):
    assert name_status(status, code) == fault


@pytest.mark.parametrize(
    ("text", "reason", "refusal", "fault"),
    [
        ("fine", "stop", "", None),
        ("fine", "unknown", "", None),
        (" \n", "stop", "", "empty"),
        ("cut o", "length", "", "truncated"),
        ("", "content_filter", "", "content_filter"),
        ("", "stop", "I cannot", "refused"),
        ("half", "abort", "", "malformed"),
    ],
)
def test_an_answer_is_named(text, reason, refusal, fault):
    assert name_answer(text, reason, refusal) == fault


@given(st.integers(1, 1000), st.integers())
def test_the_backoff_is_jittered_and_bounded(failures, seed):
    most = 0.5 * 2 ** (failures - 1)
    assert 0 <= backoff_seconds(failures, random.Random(seed)) <= min(30, most)
    assert 0 <= backoff_seconds(failures, random.Random(seed), overloaded=True) <= min(4, most)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "99999"}, 600.0),
        ({"retry-after": "Tue, 24 Nov 2026 00:00:10 GMT"}, 10.0),
        ({"retry-after": "Mon, 23 Nov 2026 00:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Mon, 01 Jan 99999999999 00:00:00 GMT"}, None),
        ({"retry-after-ms": "nan"}, 0.0),
    ],
)
def test_what_the_endpoint_asks_us_to_wait_is_read(headers, seconds):
    assert retry_after_seconds(headers, datetime(2026, 11, 24, tzinfo=UTC)) == seconds
