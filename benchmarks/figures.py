"""Figures: their names, how they are measured, their units and meanings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.servers import Servers

# The number of hires of most figures; with fewer hires a run is faster, but its results are meaningless.
RECORDS = 1_000_000


@dataclass(frozen=True)
class Figure:
    """A value that `make bench` reports. Absolute times depend on the machine, ratios within one run far less.

    Attributes:
        name: its key in bench.json; the part before the first underscore is its group.
        measure: returns the value, given the servers and the number of records, by default RECORDS.
        meaning: a short description of the value.
        unit: the unit of the value.
        bar: the limit of the value, if any.
    """

    name: str
    measure: Callable[[Servers, int], float]
    meaning: str
    unit: str = "ratio"
    bar: str = ""


class UnknownFigure(ValueError):
    """No figure has this name."""


def chosen(figures: Sequence[Figure], names: Sequence[str]) -> list[Figure]:
    """Return the figures with the given names, of figures or groups; without names, all of them.

    Raises:
        UnknownFigure: no figure or group has a name.
    """
    for name in names:
        if not any(_matches(figure, name) for figure in figures):
            known = ", ".join(figure.name for figure in figures)
            raise UnknownFigure(f"no figure and no group of figures is called {name!r}; there are {known}")
    return [figure for figure in figures if not names or any(_matches(figure, name) for name in names)]


def _matches(figure: Figure, name: str) -> bool:
    return name in (figure.name, figure.name.partition("_")[0])
