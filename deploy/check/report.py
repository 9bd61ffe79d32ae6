"""A report of sentences that must be true of a deployment, printed one by one."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console

console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


@dataclass
class Report:
    """Prints each sentence with whether it is true, and counts those that are not."""

    wrong: int = 0

    def tell(self, sentence: str, complaints: Iterable[str]) -> None:
        """Print a sentence, and why it is not true where it is not."""
        found = list(complaints)
        self.wrong += bool(found)
        console.print(f"[red]✗[/] {sentence}" if found else f"[green]✓[/] {sentence}")
        for each in found:
            console.print(f"    {each}", markup=False, emoji=False, soft_wrap=True)

    def end(self) -> None:
        """Sum up, and exit with status 1 unless all of it is true."""
        console.print(f"\n{self.wrong} of the sentences above are not true." if self.wrong else "\nAll of it is true.")
        sys.exit(bool(self.wrong))


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is under way, where somebody is looking."""
    with console.status(what):
        yield
