"""What a figure is: its name, how it is measured, in which unit, and what it tells."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.servers import Servers

# Of the hires that most figures are about; a smaller number makes a run that is quick and says nothing.
RECORDS = 1_000_000


@dataclass(frozen=True)
class Figure:
    """A number that `make bench` tells. Absolute times depend on the machine, ratios of one run far less.

    Attributes:
        name: the figure's key in bench.json; what is before the first underscore is its group.
        measure: returns the number, given the servers and how many records are meant by RECORDS.
        meaning: what the number is, in a few words.
        unit: what the number counts.
        bar: what the number has to keep to, if anything.
    """

    name: str
    measure: Callable[[Servers, int], float]
    meaning: str
    unit: str = "ratio"
    bar: str = ""


class UnknownFigure(ValueError):
    """No figure has a name like this."""


def chosen(figures: Sequence[Figure], names: Sequence[str]) -> list[Figure]:
    """Return the figures that some names mean, a figure's or a group's; without names, all of them.

    Raises:
        UnknownFigure: a name means none.
    """
    for name in names:
        if not any(_is_meant(figure, name) for figure in figures):
            known = ", ".join(figure.name for figure in figures)
            raise UnknownFigure(f"no figure and no group of figures is called {name!r}; there are {known}")
    return [figure for figure in figures if not names or any(_is_meant(figure, name) for name in names)]


def _is_meant(figure: Figure, name: str) -> bool:
    return name in (figure.name, figure.name.partition("_")[0])
