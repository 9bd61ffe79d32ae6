"""Charts for the marts' pages in the UI: stacked bars as SVG, and SVG as Markdown."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dagster import MetadataValue

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# With more bars, each would be thinner than its label.
BARS = 15
MAX_NAME = 32
WIDTH = 900
BAR_HEIGHT = 26
FRAME_HEIGHT = 130
NOTHING = MetadataValue.md("Nobody has been hired yet.")
# Characters that XML does not allow, even escaped.
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_markdown(name: str, chart: str) -> str:
    """Return an SVG as an image in Markdown.

    Percent-encoded rather than in base64, because the database can compress that better.
    """
    return f"![{name}](data:image/svg+xml,{quote(chart, safe='=:/,;')})"


def title_suffix(shown: int, departments: int) -> str:
    """Return the end of a title, which says how many of the departments are drawn; "" if all of them are."""
    return f", the first {shown} of {departments:,} departments" if departments > shown else ""


def short(name: str) -> str:
    """Return a name truncated for a label, without characters that XML does not allow."""
    text = " ".join(NOT_XML.sub("\ufffd", name).split())
    return text if len(text) <= MAX_NAME else f"{text[: MAX_NAME - 1]}…"


def stacked_bars(title: str, names: Sequence[str], colors: tuple[str, ...]) -> Any:
    """Return an empty pygal chart.

    Args:
        title: the title.
        names: the labels of the bars, from the top.
        colors: the colors of each bar's segments, from the left.
    """
    # Imported here, because it is needed only after a build that changed a mart.
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
        # Bars are drawn from the bottom.
        x_labels=list(reversed(names)),
        width=WIDTH,
        height=FRAME_HEIGHT + BAR_HEIGHT * len(names),
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
    chart.add_xml_filter(_remove_invisible_elements)
    return chart


def _remove_invisible_elements(root: "Element") -> "Element":
    for parent in root.iter():
        # A comment's tag is a function. One comment has today's date, which would change the chart every day.
        for child in [child for child in parent if callable(child.tag) or child.tag in ("desc", "script")]:
            parent.remove(child)
    return root


def svg(chart: Any) -> str:
    """Return a chart as SVG."""
    return str(chart.render())
