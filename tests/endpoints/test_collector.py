import gc

import pytest

from endpoints.collector import rare_collections


def test_the_collector_is_as_it_was_afterwards_also_where_the_work_fails():
    before = gc.get_threshold()
    with pytest.raises(KeyError), rare_collections():
        assert gc.get_threshold()[0] > before[0]
        assert gc.get_freeze_count() > 0
        raise KeyError
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
