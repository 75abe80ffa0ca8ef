import pytest

from datagen.production import Production
from tests.fake_llm import FakeLLM


@pytest.fixture
def work(access):
    with FakeLLM() as server:
        yield Production(access(server.base_url), ("doctor",), "numbers", lambda progress: None)


async def ask_nothing(item, cast):
    return item


def test_what_needs_no_endpoint_is_done_in_whole_beside_the_items(work):
    done, kept = [], []
    work.run(range(5), 5, ask_nothing, kept.append, meanwhile=map(done.append, range(200)))
    assert kept == list(range(5))
    assert done == list(range(200))


def test_what_needs_no_endpoint_is_done_where_there_is_no_item(work):
    done = []
    work.run((), 0, ask_nothing, lambda kept: None, meanwhile=map(done.append, range(3)))
    assert done == [0, 1, 2]


def test_its_error_is_the_runs_error(work):
    def steps():
        yield 1
        raise ValueError("the control group is unsound")

    with pytest.raises(ValueError, match="control group"):
        work.run(range(5), 5, ask_nothing, lambda kept: None, meanwhile=steps())
