"""What is drawn out of numbers and names: heat, the strip of years, names that may have been meant."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from typing import NamedTuple

from api.dashboard.queries import Names
from api.dashboard.query import DashboardQuery

HEAT_STEPS = 5
# A longer gap between two years that have hires is one item of the strip.
MAX_EMPTY_YEARS = 3
MAX_SUGGESTIONS = 5
# Comparing takes some 10 µs a name, and nobody else is answered meanwhile.
MAX_COMPARED_NAMES = 5000


class HeatStep(NamedTuple):
    """A colour of the scale and the numbers of hires that have it."""

    colour: int
    first: int
    last: int


class HeatScale:
    """Colours for numbers of hires, each for a part of the different numbers there are: an outlier pales no other."""

    def __init__(self, quantiles: Iterable[int]) -> None:
        self._tops = sorted(set(quantiles))
        gaps = len(self._tops) - 1
        # Few different numbers are as far apart as many.
        self._colours = [1 + round(step * (HEAT_STEPS - 1) / gaps) for step in range(gaps + 1)] if gaps else [1]

    def colour(self, hires: int) -> int:
        """Return the number of a colour, 0 for no hires."""
        return self._colours[bisect_left(self._tops, hires)] if hires else 0

    @property
    def steps(self) -> list[HeatStep]:
        """The legend."""
        firsts = [1, *(top + 1 for top in self._tops)]
        return [HeatStep(*step) for step in zip(self._colours, firsts, self._tops, strict=False)]


@dataclass(frozen=True)
class Year:
    """An item of the strip: a year, or several without any hires in a row."""

    first: int
    last: int
    quarters: Sequence[int] = (0, 0, 0, 0)

    @property
    def hires(self) -> int:
        """Hires of the year."""
        return sum(self.quarters)


def strip(years: Iterable[Sequence[int]], current: int) -> list[Year]:
    """Return all years from the first to the last, the current one among them, with the empty ones in between."""
    found = {year: Year(year, year, quarters) for year, *quarters in years}
    shown = sorted(found | {current: found.get(current, Year(current, current))})
    items = [found.get(shown[0], Year(shown[0], shown[0]))]
    for before, year in pairwise(shown):
        gap = range(before + 1, year)
        if len(gap) > MAX_EMPTY_YEARS:
            items.append(Year(gap[0], gap[-1]))
        else:
            items.extend(Year(empty, empty) for empty in gap)
        items.append(found.get(year, Year(year, year)))
    return items


class Suggestion(NamedTuple):
    """What was asked for and is not known, and links to the names that come near to it."""

    text: str
    links: dict[str, str]


def near_names(query: DashboardQuery, known: Names) -> list[Suggestion]:
    """Return what of a query is not known, with names that come near to it."""
    suggestions = []
    for field, names in (("department", known.departments), ("job", known.jobs)):
        for text in set(getattr(query, field)) - set(names):
            near = _near(text, names)
            others = [name for name in getattr(query, field) if name != text]
            suggestions.append(Suggestion(text, {name: query.link(**{field: [*others, name]}) for name in near}))
    if query.search and not any(known.containing(query.search)):
        names = [*known.departments, *known.jobs]
        near = _near(query.search, [*names, *(word for name in names for word in name.split())])
        suggestions.append(Suggestion(query.search, {name: query.link(search=name) for name in near}))
    return suggestions


def _near(text: str, names: Sequence[str]) -> list[str]:
    spellings = {name.casefold(): name for name in names[:MAX_COMPARED_NAMES]}
    return [spellings[near] for near in get_close_matches(text.casefold(), spellings, MAX_SUGGESTIONS)]
