"""Charts as SVG within a page: drawn here by pygal, coloured by the style sheet, without script. In: figures. Out: markup.

Each chart is drawn twice, wide and for phones, of which the style sheet shows one: scaled down its words could not be read.
The same figures stand in a table beside it (`chart` in `templates/charts.html`). Must not know what the figures mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

import pygal
from markupsafe import Markup

from hslpy.records import record

_SIZES = (("wide", 560, 220), ("phone", 340, 210))
_MOST_TICKS = 4
_LABELS = {"wide": 8, "phone": 5}
"""How many labels the time axis has room for."""
# What pygal writes for its own style sheet and script: ours has no use for it, and the page's policy would refuse it.
_SERIES = re.compile(r"\bserie-(\d+)\b")
_LEFT_OUT = ("defs", "desc", "title")


@record
class Series:
    """Figures of one kind, one a label. `tone` is the class of their colour: `good`, `wait`, `bad`, `other`, `plan`."""

    name: str
    values: tuple[float, ...]
    tone: str

    @property
    def total(self) -> float:
        return sum(self.values)


@record
class Chart:
    """A chart with what it says in words; `labels` are those of the axis, `rows` what the table beside it calls them.

    `kind` is `stacked` or `grouped`; `marks` are those of the axis upwards, else round ones are found.
    """

    id: str
    title: str
    summary: str
    labels: tuple[str, ...]
    rows: tuple[str, ...]
    series: tuple[Series, ...]
    heading: str = "Time"
    kind: str = "stacked"
    marks: tuple[float, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not any(one.total for one in self.series)

    @property
    def svg(self) -> Markup:
        """The chart in both sizes."""
        return Markup("").join(Markup(self._drawn(*size)) for size in _SIZES)

    def _drawn(self, size: str, width: int, height: int) -> str:
        make: Callable[..., Any] = pygal.StackedBar if self.kind == "stacked" else pygal.Bar
        chart = make(
            js=[],
            css=[],
            width=width,
            height=height,
            margin=8,
            spacing=6,
            show_legend=False,
            no_prefix=True,
            print_values=False,
            include_x_axis=True,
            truncate_label=-1,
        )
        every = max(1, math.ceil(len(self.labels) / _LABELS[size]))
        chart.x_labels = [label if number % every == 0 else "" for number, label in enumerate(self.labels)]
        chart.y_labels = list(self.marks) or ticks(self._highest())
        chart.value_formatter = short
        for one in self.series:
            chart.add(one.name, list(one.values))
        root: Element = chart.render_tree()
        _tidy(root, [f"{one.tone} part" for one in self.series], self._told)
        for name in ("id", "xmlns"):
            root.attrib.pop(name, None)
        root.set("class", f"chart-{size}")
        root.set("role", "img")
        root.set("aria-labelledby", f"{self.id}-{size}-title {self.id}-{size}-desc")
        desc, title = Element("desc", {"id": f"{self.id}-{size}-desc"}), Element("title", {"id": f"{self.id}-{size}-title"})
        desc.text, title.text = self.summary, self.title
        root.insert(0, desc)
        root.insert(0, title)
        return tostring(root, encoding="unicode")

    def _highest(self) -> float:
        columns = list(zip(*(one.values for one in self.series), strict=True))
        return max((sum(one) if self.kind == "stacked" else max(one) for one in columns), default=0)

    def _told(self, series: int, column: int) -> str:
        one = self.series[series]
        return f"{self.rows[column]}: {one.values[column]:,.10g} {one.name.lower()}"


def ticks(highest: float) -> Sequence[float]:
    """Give the marks of an axis from 0 to what is at least `highest`: round whole numbers, four steps at most."""
    if highest <= 0:
        return [0, 1]
    rough = max(highest / _MOST_TICKS, 1)
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * one for one in (1, 2, 2.5, 5, 10) if power * one >= rough and power * one == int(power * one))
    return [number * int(step) for number in range(math.ceil(highest / step) + 1)]


def short(value: float) -> str:
    """Give a figure as it stands at an axis: `12k`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def _tidy(root: Element, tones: Sequence[str], told: Callable[[int, int], str]) -> None:
    """Leave of pygal's drawing what is to be seen, with our colours' classes and a hint at each bar."""
    for group in root.iter("g"):
        found = _SERIES.search(group.get("class") or "")
        bars = group.findall(".//g[@class='bar']")
        if found and bars:
            number = int(found[1])
            group.set("class", tones[number])
            for column, bar in enumerate(bars):
                rect = bar.find("rect")
                assert rect is not None
                if float(rect.get("height", "0")) <= 0:
                    bar.clear()
                    continue
                for name in ("class", "rx", "ry"):
                    rect.attrib.pop(name, None)
                for desc in bar.findall("desc"):
                    bar.remove(desc)
                SubElement(bar, "title").text = told(number, column)
                bar.set("class", "bar")
    for parent in list(root.iter()):
        for child in list(parent):
            if _is_to_be_left_out(child, parent):
                parent.remove(child)
            else:
                _round(child)


def _is_to_be_left_out(child: Element, parent: Element) -> bool:
    if not isinstance(child.tag, str):
        return True  # a comment
    if child.tag in _LEFT_OUT:
        return child.tag != "title" or parent.get("class") != "bar"
    name = child.get("class") or ""
    if "background" in name or "overlay" in name or "titles" in name:
        return True
    return (child.tag == "text" and not child.text) or (child.tag == "g" and not len(child))


def _round(element: Element) -> None:
    for name in ("x", "y", "width", "height"):
        value = element.get(name)
        if value is not None:
            element.set(name, f"{float(value):.4g}" if abs(float(value)) < 1000 else value)
