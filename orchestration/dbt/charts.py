"""The two metrics as pictures: SVG out of rows. What is drawn, and when, is decided elsewhere."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# More bars are thinner than their names.
BARS = 15
LONGEST_NAME = 32
WIDTH = 900
HEIGHT_OF_A_BAR = 26
HEIGHT_OF_THE_REST = 130
QUARTER_COLORS = ("#1b4b72", "#3d85c6", "#8fbce6", "#f2a541")
MEAN_COLORS = ("#b8bec6", "#1b7f5c")
# What XML cannot hold, even escaped.
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Quarters:
    """A department's hires of a year by quarter."""

    department: str
    hires: tuple[int, int, int, int]


@dataclass(frozen=True)
class Above:
    """A department and its hires of a year, which are more than the mean."""

    department: str
    hired: int


def hires_by_quarter(year: int, rows: Sequence[Quarters], departments: int) -> str:
    """Return stacked bars of the quarters as SVG, a bar for each of the first departments.

    Args:
        year: of the hires.
        rows: departments, the first one on top; as many as BARS are drawn.
        departments: how many departments hired in that year, drawn or not.
    """
    shown = rows[:BARS]
    chart = _stacked_bars(
        f"Hires of {year} by quarter{_of_how_many(len(shown), departments)}",
        [f"{_short(row.department)}: {sum(row.hires):,}" for row in shown],
        QUARTER_COLORS,
    )
    for number in range(4):
        chart.add(f"Q{number + 1}", [row.hires[number] for row in reversed(shown)])
    return _svg(chart)


def departments_above_mean(year: int, rows: Sequence[Above], mean: float, departments: int) -> str:
    """Return the departments above the mean as SVG: bars whose color changes where the mean is.

    Args:
        year: of the hires.
        rows: departments, the first one on top; as many as BARS are drawn.
        mean: the mean of all departments.
        departments: how many departments are above it, drawn or not.
    """
    shown = rows[:BARS]
    chart = _stacked_bars(
        f"Hires of {year} above the mean of {mean:,.1f}{_of_how_many(len(shown), departments)}",
        [f"{_short(row.department)}: {row.hired:,}" for row in shown],
        MEAN_COLORS,
    )
    chart.add("up to the mean", [mean for _ in shown])
    chart.add("above it", [row.hired - mean for row in reversed(shown)])
    return _svg(chart)


def as_markdown(name: str, svg: str) -> str:
    """Return an SVG as an image in Markdown.

    Escaped rather than in base64: it is repetitive, and the database's compression can see so.
    """
    return f"![{name}](data:image/svg+xml,{quote(svg, safe='=:/,;')})"


def _of_how_many(shown: int, departments: int) -> str:
    return f", the first {shown} of {departments:,} departments" if departments > shown else ""


def _short(name: str) -> str:
    text = " ".join(NOT_XML.sub("\ufffd", name).split())
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def _stacked_bars(title: str, names: Sequence[str], colors: tuple[str, ...]) -> Any:
    # Imported here: only a build that changed a mart draws.
    import pygal
    from pygal.style import Style

    style = Style(
        background="white",
        plot_background="white",
        colors=colors,
        font_family="system-ui, sans-serif",
        label_font_size=13,
        major_label_font_size=13,
        title_font_size=16,
        legend_font_size=13,
        opacity="1",
        guide_stroke_color="#dddddd",
        major_guide_stroke_color="#dddddd",
    )
    chart = pygal.HorizontalStackedBar(
        style=style,
        title=title,
        # Bars are drawn from below, names are read from above.
        x_labels=list(reversed(names)),
        width=WIDTH,
        height=HEIGHT_OF_THE_REST + HEIGHT_OF_A_BAR * len(names),
        legend_at_bottom=True,
        legend_at_bottom_columns=len(colors),
        truncate_label=-1,
        show_x_guides=False,
        show_y_guides=True,
        # An image runs no scripts and shows no tooltips.
        js=[],
        explicit_size=True,
        no_prefix=True,
        disable_xml_declaration=True,
    )
    chart.add_xml_filter(_without_what_no_image_shows)
    return chart


def _without_what_no_image_shows(root: "Element") -> "Element":
    for parent in root.iter():
        # A comment's tag is a function. One of them has today's date: the same rows would be another picture tomorrow.
        for child in [child for child in parent if callable(child.tag) or child.tag in ("desc", "script")]:
            parent.remove(child)
    return root


def _svg(chart: Any) -> str:
    return str(chart.render())
