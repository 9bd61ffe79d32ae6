"""Date formats that a column declares in addition to ISO 8601, in strptime's notation: %d/%m/%Y %H:%M."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache

# Days, months and hours may have one digit, except directly before or after another directive.
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
    """Return what is wrong with the formats of a column, one sentence per problem: with each one, or their set."""
    if invalid := [f"format {declared!r} {problem}" for declared in formats if (problem := _problem(declared))]:
        return invalid
    known = {_shape(declared): declared for declared in ISO_8601}
    return [
        f"formats {other!r} and {declared!r} cannot be told apart"
        for declared in formats
        # One of the two would be used for both, and might mistake the day for the month.
        if (other := known.setdefault(_shape(declared), declared)) != declared
    ]


def read_datetime(text: str, declared: str) -> datetime | None:
    """Parse a text by a format, in UTC; None if it does not match the format.

    Args:
        text: without surrounding white space.
        declared: a format without `problems`.
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
    """Return a regular expression that texts of a format match; it does not check the calendar.

    Args:
        declared: a format without `problems`.
        directives: what each directive matches, first on its own, second next to another directive.
    """
    tokens = ["", *_tokens(declared), ""]
    expression = ""
    for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if token in DIRECTIVES:
            apart, adjacent = directives[token]
            expression += f"({adjacent if before in DIRECTIVES or after in DIRECTIVES else apart})"
        else:
            expression += f"[{token}]"
    return expression


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
    """Return the positions and numbers of a format's digits, which are equal for formats that match the same texts."""
    return "".join({"%Y": "99"}.get(token, "9") if token in DIRECTIVES else token for token in _tokens(declared))


def _tokens(declared: str) -> list[str]:
    return re.findall("(?s)%?.", declared)
