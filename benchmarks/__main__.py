"""`python -m benchmarks`: measure figures, print a table, and write STATE_DIR/bench.json (values by name of figure)."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import api, archive, freshness, listing, load, models
from benchmarks.figures import RECORDS, Figure, UnknownFigure, chosen
from benchmarks.servers import running_servers
from deploy.local.settings import Settings

FIGURES = (*load.FIGURES, *listing.FIGURES, *models.FIGURES, *api.FIGURES, *archive.FIGURES, *freshness.FIGURES)
# With fewer records, the smallest file, which has a tenth of them, would lack some kinds of bad records.
MIN_RECORDS = 1000

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
# A pipe or a file has no width of its own, and the table needs more than rich's default of 80 columns.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


@app.command(help=__doc__)
def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[FIGURE|GROUP]...", show_default="all")] = None,
    records: Annotated[
        int, typer.Option(min=MIN_RECORDS, help="Number of hires; other sizes scale with it.")
    ] = RECORDS,
) -> None:
    """Measure some figures, or all, on separate servers."""
    try:
        figures = chosen(FIGURES, names or [])
    except UnknownFigure as error:
        raise typer.BadParameter(str(error)) from None
    state_dir = Settings().state_dir
    state_dir.mkdir(parents=True, exist_ok=True)
    values = {}
    with console.status("Starting the servers") as status, running_servers(state_dir / "bench") as servers:
        for figure in figures:
            status.update(f"Measuring {figure.name}; nothing else should be running")
            values[figure.name] = figure.measure(servers, records)
    console.print(_table(figures, values))
    (state_dir / "bench.json").write_text(json.dumps(values, indent=2) + "\n")


def _table(figures: Sequence[Figure], values: Mapping[str, float]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    has_bars = any(figure.bar for figure in figures)
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    if has_bars:
        table.add_column("bar", no_wrap=True)
    table.add_column("what it is")
    for figure in figures:
        bar = [figure.bar] if has_bars else []
        table.add_row(figure.name, f"{values[figure.name]:.2f}", figure.unit, *bar, figure.meaning)
    return table


if __name__ == "__main__":
    app()
