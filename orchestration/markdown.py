"""Rows as a Markdown table, as the UI shows them."""

from collections.abc import Mapping, Sequence

from tabulate import tabulate


def table_of_rows(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows as a Markdown table with their keys as its head, "none" for no rows."""
    if not rows:
        return "none"
    cells = [[_cell(value) for value in row.values()] for row in rows]
    return str(tabulate(cells, headers=list(rows[0]), tablefmt="pipe", disable_numparse=True))


def _cell(value: object) -> str:
    # Values come out of files: none of them may end its cell or its row.
    return "" if value is None else " ".join(str(value).split()).replace("|", "\\|")
