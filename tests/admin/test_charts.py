"""Charts: what they draw stays within the page's policy, says its figures, and escapes what it is given."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from hslpy.admin.pages.charts import Chart, Series, short, ticks

EVIL = "<img src=x onerror=alert(1)>\"'&"


def chart(*values: tuple[float, ...], name: str = "Delivered", kind: str = "stacked") -> Chart:
    labels = tuple(f"{number:02}:00" for number in range(len(values[0])))
    series = tuple(Series(f"{name} {number}", one, "good") for number, one in enumerate(values))
    return Chart("out", name, f"{name} told", labels, labels, series, kind=kind)


def test_nothing_inline_and_nothing_of_others() -> None:
    drawn = str(chart((1.0, 0.0, 3.0), (2.0, 2.0, 0.0), name=EVIL).svg)
    for word in ("<script", "<style", "style=", "pygal", "http", "<img", "tooltip"):
        assert word not in drawn.replace("http://www.w3.org", ""), word


def test_each_size_has_a_name_and_a_hint_for_each_bar() -> None:
    found = ElementTree.fromstring(f"<all>{chart((1.0, 0.0, 3000.0), (2.0, 2.0, 0.0)).svg}</all>")
    assert [one.get("class") for one in found] == ["chart-wide", "chart-phone"]
    ids = [one.get("id") for one in found.iter() if one.get("id")]
    assert len(ids) == len(set(ids)) == 4
    for one in found:
        assert one.get("role") == "img" and set(str(one.get("aria-labelledby")).split()) <= set(ids)
        hints = [title.text for title in one.iter("title")][1:]
        assert hints == ["00:00: 1 delivered 0", "02:00: 3,000 delivered 0", "00:00: 2 delivered 1", "01:00: 2 delivered 1"]


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=30), st.sampled_from(["stacked", "grouped"]))
def test_any_figures_are_drawn(values: list[int], kind: str) -> None:
    it = chart(tuple(map(float, values)), tuple(map(float, reversed(values))), kind=kind)
    assert it.is_empty or ElementTree.fromstring(f"<all>{it.svg}</all>") is not None


@given(st.floats(0, 1e12))
def test_marks_of_an_axis_are_whole_and_reach_the_highest(highest: float) -> None:
    found = ticks(highest)
    assert found[0] == 0 and found[-1] >= highest and 2 <= len(found) <= 6
    assert all(one == int(one) for one in found)


def test_figures_at_an_axis_are_short() -> None:
    assert [short(one) for one in (0, 15, 1500, 2_000_000, 3e9)] == ["0", "15", "1.5k", "2M", "3G"]
