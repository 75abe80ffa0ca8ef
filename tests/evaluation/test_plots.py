import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.plots import (
    Node,
    Scale,
    line_chart,
    lineage_graph,
    nice_ticks,
    scale_around,
)

FLOATS = st.floats(-1e6, 1e6)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 10.0, [0, 2, 4, 6, 8, 10]),
        (-0.3, 0.5, [-0.2, 0.0, 0.2, 0.4]),
        (97.0, 103.0, [98, 100, 102]),
        (1.0, 1.0, [1.0]),
    ],
)
def test_ticks_are_round_numbers(low, high, ticks):
    assert nice_ticks(low, high) == pytest.approx(ticks)


@settings(deadline=None)
@given(FLOATS, st.floats(1e-3, 1e6))
def test_ticks_lie_in_their_range_and_are_not_many(low, span):
    ticks = nice_ticks(low, low + span)
    slack = 1e-6 * max(abs(low), span)
    assert len(ticks) <= 12
    assert all(low - slack <= tick <= low + span + slack for tick in ticks)


@settings(deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=6))
def test_a_scale_holds_its_values(values):
    scale = scale_around(values)
    assert scale.low < scale.high
    assert all(0.0 <= scale.percent(value) <= 100.0 for value in values)


def test_values_outside_stop_at_the_ends():
    assert [Scale(0.0, 2.0).percent(v) for v in (-1.0, 0.5, 9.0)] == [0.0, 25.0, 100.0]


def test_a_chart_is_sound_xml_even_of_one_point_and_odd_titles():
    for points in ([(1, 2.5)], [(1, 2.5), (2, 1.5), (3, 1.5)]):
        svg = line_chart(points, "<loss> & 损失", "step", baseline=0.5)
        root = ET.fromstring(str(svg))
        assert root.find("title").text == "<loss> & 损失"


def test_the_axis_of_a_share_goes_from_0_to_1_whatever_its_values():
    root = ET.fromstring(str(line_chart([(2, 0.5), (3, 0.5)], "share", "step", 0.5, (0.0, 1.0))))
    ticks = [text.text for text in root.findall("text") if text.get("class") == "tick end"]
    assert (ticks[0], ticks[-1]) == ("0", "1")


def test_the_graph_draws_each_box_and_each_edge_once():
    nodes = [Node("a", "data", "a/1", 0), Node("b", "<sft>", "b/2", 1), Node("c", "dpo", "c/3", 1)]
    root = ET.fromstring(str(lineage_graph(nodes, [("a", "b"), ("a", "c")], "lineage")))
    assert len(root.findall("g")) == 3
    assert len(root.findall("path")) == 2
