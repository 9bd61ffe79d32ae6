"""`python -m benchmarks`: measure, print a table, write STATE_DIR/bench.json (figure's name: number)."""

import json

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import load
from benchmarks.servers import running_servers
from deploy.local.settings import Settings


def main() -> None:
    """Run every benchmark on servers of its own."""
    state_dir = Settings().state_dir
    state_dir.mkdir(parents=True, exist_ok=True)
    console = Console(highlight=False)
    with (
        console.status("Measuring; nothing else should run meanwhile"),
        running_servers(state_dir / "bench") as servers,
    ):
        figures = list(load.measure(servers))
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("figure", "ratio", "what it is"):
        table.add_column(column, justify="right" if column == "ratio" else "left")
    for figure in figures:
        table.add_row(figure.name, f"{figure.value:.2f}", figure.meaning)
    console.print(table)
    (state_dir / "bench.json").write_text(json.dumps({figure.name: figure.value for figure in figures}, indent=2))


if __name__ == "__main__":
    main()
