"""What the pictures of the marts have in common: stacked bars as SVG, and SVG as Markdown."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dagster import MetadataValue

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# More bars are thinner than their names.
BARS = 15
MAX_NAME = 32
WIDTH = 900
BAR_HEIGHT = 26
HEIGHT_OF_THE_REST = 130
NOTHING = MetadataValue.md("Nobody has been hired yet.")
# What XML cannot hold, even escaped.
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_markdown(name: str, picture: str) -> str:
    """Return an SVG as an image in Markdown.

    Escaped rather than in base64: it is repetitive, and the database's compression can see so.
    """
    return f"![{name}](data:image/svg+xml,{quote(picture, safe='=:/,;')})"


def of_how_many(shown: int, departments: int) -> str:
    """Return the end of a title that says how many of the departments are drawn; "" where all of them are."""
    return f", the first {shown} of {departments:,} departments" if departments > shown else ""


def short(name: str) -> str:
    """Return a name in the length that a picture has room for, without what XML cannot hold."""
    text = " ".join(NOT_XML.sub("\ufffd", name).split())
    return text if len(text) <= MAX_NAME else f"{text[: MAX_NAME - 1]}…"


def stacked_bars(title: str, names: Sequence[str], colors: tuple[str, ...]) -> Any:
    """Return an empty chart of pygal's.

    Args:
        title: what it shows.
        names: of the bars, the first one on top.
        colors: of the parts of each bar, from the left.
    """
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
        height=HEIGHT_OF_THE_REST + BAR_HEIGHT * len(names),
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


def svg(chart: Any) -> str:
    """Return a chart as SVG."""
    return str(chart.render())
