"""The charts of the two metrics: their content, and that no value in a file makes them unreadable or huge."""

from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from orchestration.dbt import charts
from orchestration.dbt.marts import departments_above_mean, hires_by_quarter
from orchestration.dbt.marts.departments_above_mean import Above
from orchestration.dbt.marts.hires_by_quarter import Quarters

ODD_NAMES = ['R&D <Söns> "quoted"', "王小明", "\x01\x1b\ud800control\n", "x" * 500, ""]


def departments(number: int) -> list[Quarters]:
    return [Quarters(f"Department {each}", (each % 7, 2, each % 5, 4)) for each in range(number)]


def texts(svg: str) -> list[str]:
    """Return the texts of a picture, which it must be possible to read as XML."""
    return [text for text in ElementTree.fromstring(svg).itertext() if text.strip()]  # noqa: S314 - our own


@pytest.mark.parametrize("number", [1, 12, 500])
def test_hires_by_quarter_show_the_first_departments_and_say_of_how_many(number: int) -> None:
    shown = texts(hires_by_quarter.draw(2021, departments(number), number))

    names = [text for text in shown if text.startswith("Department ")]
    assert [name.split(":")[0] for name in names if ":" in name] == [
        f"Department {each}" for each in reversed(range(min(number, charts.BARS)))
    ]
    assert {"Q1", "Q2", "Q3", "Q4"} <= {*shown}
    title = next(text for text in shown if text.startswith("Hires of 2021"))
    assert title.endswith("the first 15 of 500 departments" if number == 500 else "by quarter")


def test_departments_above_mean_show_their_hires_and_the_mean() -> None:
    shown = texts(departments_above_mean.draw(2021, [Above("Sales", 1200), Above("Legal", 40)], 33.36, 2))

    assert {"Sales: 1,200", "Legal: 40", "up to the mean", "above it"} <= {*shown}
    assert "Hires of 2021 above the mean of 33.4" in shown


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_can_be_drawn_and_long_ones_are_cut(name: str) -> None:
    shown = texts(hires_by_quarter.draw(2021, [Quarters(name, (1, 0, 0, 0))], 1))

    (label,) = [text for text in shown if text.endswith(": 1")]
    assert len(label) <= charts.MAX_NAME + len(": 1")


def test_the_same_rows_are_the_same_picture() -> None:
    """Otherwise each build would store another one."""
    svg = hires_by_quarter.draw(2021, departments(20), 20)

    assert hires_by_quarter.draw(2021, departments(20), 20) == svg
    # A comment has the time of drawing.
    assert "<!--" not in svg


def test_a_chart_is_small_and_loads_no_external_resources() -> None:
    rows = [Quarters("Département " + "é" * 500, (10**9, 10**9, 10**9, 10**9))] * 500
    svg = hires_by_quarter.draw(2021, rows, 500)

    assert len(charts.as_markdown("chart", svg)) < 100_000
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own
    assert not [each for each in root.iter() if str(each.tag).endswith("script")]
    assert not [each for each in root.iter() if any(name.endswith("href") for name in each.attrib)]


def test_markdown_holds_the_picture_in_one_link() -> None:
    """A blank or a bracket would end the link, and the page show the rest as text."""
    svg = departments_above_mean.draw(2021, [Above("Sales (North)", 3)], 1.5, 1)

    head, _, data = charts.as_markdown("Hires (all)", svg).partition("](")
    assert head == "![Hires (all)"
    assert data.endswith(")")
    assert not {" ", "(", ")", "\n", "<", '"'} & {*data[:-1]}
    assert unquote(data[:-1]).removeprefix("data:image/svg+xml,") == svg
