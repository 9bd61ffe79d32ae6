"""The load engine's commands as commands of `hiring`: with their own arguments and help, on the embedded servers."""

import sys
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperCommand

from deploy.local.settings import Settings
from deploy.local.stack import on_servers
from orchestration.ingest.__main__ import dismiss_records, load, rejected, status, validate
from orchestration.ingest.__main__ import main as run_engine

PANEL = "Files and their records"
# By the name in `hiring`, where `status` is that of the services; with examples.
COMMANDS: dict[str, tuple[Callable[..., None], list[str]]] = {
    "validate": (validate, ["hiring validate hired_employees.csv", "hiring validate s3://landing/jobs.csv"]),
    "load": (
        load,
        [
            "hiring load                          # everything new in the landing folder",
            "hiring load s3://landing/jobs.csv --reject-share 0.9",
            "hiring load s3://landing/jobs.csv --again",
        ],
    ),
    "loads": (status, ["hiring loads"]),
    "rejected": (
        rejected,
        ["hiring rejected --open", "hiring rejected --open --table jobs --csv > jobs_corrections.csv"],
    ),
    "dismiss": (dismiss_records, ['hiring dismiss --load 3 --record 51 --note "a line of totals"']),
}
ENGINE_NAMES = {"loads": "status"}


class EngineCommand(TyperCommand):
    """A command of the load engine: its arguments are validated here, and it runs in another process.

    That process has the stack's environment. A command that needs no server starts none.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the arguments as typed."""
        ctx.obj = [ENGINE_NAMES.get(str(self.name), str(self.name)), *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> None:
        """Run the engine with the arguments, and exit with its status."""
        command, arguments = ctx.obj[0], ctx.obj
        program = ctx.parent.command_path
        if command == "validate" and not ctx.params["source"].startswith("s3://"):
            run_engine(program, arguments)
            return
        process = [sys.executable, "-c", f"from orchestration.ingest.__main__ import main; main({program!r})"]
        needs_s3 = command in ("validate", "load")
        raise typer.Exit(on_servers(Settings(), Console(stderr=True, quiet=True), [*process, *arguments], needs_s3))


def add_engine_commands(app: typer.Typer) -> None:
    """Add the engine's commands to `hiring`, and under `hiring ingest` by their own names."""
    ingest = typer.Typer(no_args_is_help=True)
    for name, (command, examples) in COMMANDS.items():
        ingest.command(ENGINE_NAMES.get(name, name), cls=EngineCommand)(command)
        app.command(name, cls=EngineCommand, rich_help_panel=PANEL, epilog=examples_of(*examples))(command)
    app.add_typer(
        ingest, name="ingest", rich_help_panel=PANEL, help="The same commands under the load engine's own names."
    )


def examples_of(*lines: str) -> str:
    """Return example command lines as the end of a command's help."""
    return "\n".join(["[bold]Examples[/]", *(f"  {line}" for line in lines)])
