"""Formats of dates that a column declares beyond ISO 8601, in the notation of strptime: %d/%m/%Y %H:%M."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache

# Days, months and hours may be written with one digit, except where another directive follows or precedes at once.
DIRECTIVES = {
    "%d": ("0?[1-9]|[12][0-9]|3[01]", "0[1-9]|[12][0-9]|3[01]"),
    "%m": ("0?[1-9]|1[0-2]", "0[1-9]|1[0-2]"),
    "%Y": ("[0-9]{4}", "[0-9]{4}"),
    "%H": ("[01]?[0-9]|2[0-3]", "[01][0-9]|2[0-3]"),
    "%M": ("[0-5][0-9]", "[0-5][0-9]"),
    "%S": ("[0-5][0-9]", "[0-5][0-9]"),
}
LITERALS = " /.,:-T"
COMBINATIONS = ({"%d", "%m", "%Y"}, {"%d", "%m", "%Y", "%H", "%M"}, set(DIRECTIVES))
ISO_8601 = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S")


def problems(formats: Sequence[str]) -> list[str]:
    """Return what is wrong with the formats of a column, a sentence each: each of them, and all of them together."""
    if found := [f"format {declared!r} {problem}" for declared in formats if (problem := _problem(declared))]:
        return found
    known = {_shape(declared): declared for declared in ISO_8601}
    return [
        f"formats {other!r} and {declared!r} cannot be told apart"
        for declared in formats
        # One of the two would be taken, and the day perhaps for the month.
        if (other := known.setdefault(_shape(declared), declared)) != declared
    ]


def read_datetime(text: str, declared: str) -> datetime | None:
    """Return the point in time, in UTC, that a text of a format means, None if it is not of the format.

    Args:
        text: without white space around it.
        declared: a format that `problems` finds nothing wrong with.
    """
    match = re.fullmatch(_pattern(declared), text)
    if match is None:
        return None
    directives = [token for token in _tokens(declared) if token in DIRECTIVES]
    numbers = dict(zip(directives, map(int, match.groups()), strict=True))
    hour, minute, second = (numbers.get(directive, 0) for directive in ("%H", "%M", "%S"))
    try:
        return datetime(numbers["%Y"], numbers["%m"], numbers["%d"], hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


def pattern(declared: str, directives: Mapping[str, tuple[str, str]] = DIRECTIVES) -> str:
    """Return a regular expression that the texts of a format match as a whole; the calendar is beyond it.

    Args:
        declared: a format that `problems` finds nothing wrong with.
        directives: what each directive matches: apart from other digits, and adjacent to another directive.
    """
    tokens = ["", *_tokens(declared), ""]
    found = ""
    for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if token in DIRECTIVES:
            apart, adjacent = directives[token]
            found += f"({adjacent if before in DIRECTIVES or after in DIRECTIVES else apart})"
        else:
            found += f"[{token}]"
    return found


_pattern = cache(pattern)


def _problem(declared: str) -> str | None:
    tokens = _tokens(declared)
    if "%y" in tokens:
        return "has %y, which is ambiguous: a year of two digits may be of either century; only %Y is taken"
    directives = [token for token in tokens if token[0] == "%"]
    if unknown := [token for token in directives if token not in DIRECTIVES]:
        return f"has {unknown[0]}, which is not one of {' '.join(DIRECTIVES)}"
    if unknown := [token for token in tokens if token[0] != "%" and token not in LITERALS]:
        return f"has {unknown[0]!r} between its directives: only spaces and {LITERALS.strip()} may be there"
    if len(directives) > len(set(directives)) or set(directives) not in COMBINATIONS:
        return "has to have %d, %m and %Y, with %H and %M or with %H, %M and %S, or without a time, each once"
    return None if declared == declared.strip() else "begins or ends with white space, which no value does"


def _shape(declared: str) -> str:
    """Return what a format has in common with those that the same texts are of: where digits are, and how many."""
    return "".join({"%Y": "99"}.get(token, "9") if token in DIRECTIVES else token for token in _tokens(declared))


def _tokens(declared: str) -> list[str]:
    return re.findall("(?s)%?.", declared)
