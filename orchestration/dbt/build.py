"""dbt in this process, its events as Dagster's: what DbtCliResource does, without a second process and adapter.

A dbt process of its own costs about four seconds before its first statement, and DbtCliResource about as much again to
set up an adapter for metadata that is not asked for here. What the UI shows is the same.
"""

import queue
import tempfile
import threading
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import dagster as dg
from dagster_dbt import DagsterDbtTranslator
from dagster_dbt.asset_utils import default_metadata_from_dbt_resource_props as described
from dagster_dbt.asset_utils import get_subset_selection_for_context
from dagster_dbt.core.dbt_cli_event import DbtCoreCliEventMessage

from orchestration.dbt.metadata import column_history, in_database, previous_schema, rows
from orchestration.dbt.project import PROJECT, ProjectBroken, manifest
from orchestration.settings import DatabaseSettings

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

    from orchestration.database import Connection

# What dbt tells at these levels goes into the run's log; the rest is in the events.
LOGGED = {"warn": "warning", "error": "error"}
END = "End"
GLOBAL_OPTIONS = ("--quiet", "--no-write-json", "--no-send-anonymous-usage-stats", "--log-level-file", "none")


def build(
    context: dg.AssetExecutionContext,
    translator: DagsterDbtTranslator,
    arguments: Sequence[str],
    connection: "Connection",
) -> Iterator[Any]:
    """Run a dbt command over what the context selects; yield Dagster's events as dbt produces them.

    Args:
        context: of the asset that `@dbt_assets` made.
        translator: the one that asset was made with.
        arguments: dbt's command and its options; the selection is added.
        connection: of a role that reads the models, for what is shown of them.

    Raises:
        dagster.Failure: dbt failed; the message says at which nodes and why.
    """
    selection, indirect_selection = get_subset_selection_for_context(
        context=context,
        manifest=manifest(),
        select="fqn:*",
        exclude=None,
        selector=None,
        dagster_dbt_translator=translator,
        current_dbt_indirect_selection_env=None,
    )
    if indirect_selection:
        selection = [*selection, "--indirect-selection", indirect_selection]
    command = [*arguments, *selection]
    context.log.info(f"dbt {' '.join(command)}")
    errors = []
    with tempfile.TemporaryDirectory(prefix="dbt-") as target:
        compiled = Path(target) if "--full-refresh" in arguments else None
        for event in _events(command, target):
            info = event["info"]
            if event["data"].get("node_info"):
                yield from _dagster_events(context, translator, event, connection, compiled)
            if info["level"] in LOGGED and info["msg"].strip():
                getattr(context.log, LOGGED[info["level"]])(info["msg"].strip())
                # A node's own line only says that it failed; why comes at the end.
                if info["level"] == "error" and info["name"] not in ("LogTestResult", "LogModelResult"):
                    errors.append(" ".join(info["msg"].split()))
            if info["name"] == END and not event["data"]["success"]:
                raise dg.Failure(f"dbt: {'; '.join(dict.fromkeys(errors)) or 'failed'}", allow_retries=False)


def _dagster_events(
    context: dg.AssetExecutionContext,
    translator: DagsterDbtTranslator,
    event: dict[str, Any],
    connection: "Connection",
    compiled: Path | None,
) -> Iterator[Any]:
    """Yield what dagster-dbt makes of an event of dbt, a model's with its rows and columns.

    Where columns come from takes seconds to find out, and follows from the models' text: it is found out where
    `compiled` is given, dbt's folder of a full refresh, and is as it was everywhere else.
    """
    unique_id = event["data"]["node_info"]["unique_id"]
    is_model = event["info"]["name"] == "LogModelResult" and event["data"]["node_info"]["node_status"] == "success"
    project = in_database(connection, manifest())
    columns = column_history(connection, project, unique_id) if is_model and compiled else {}
    message = DbtCoreCliEventMessage(raw_event=event, event_history_metadata=columns)
    for made in message.to_default_asset_events(project, translator, context, target_path=compiled, project=PROJECT):
        if not isinstance(made, dg.Output):
            yield made
            continue
        node = project["nodes"][unique_id]
        if compiled:
            structure = described(columns)
        else:
            structure = previous_schema(context.instance, translator.get_asset_key(node))
        shown = {**structure, **made.metadata, **rows(connection, node["relation_name"])}
        yield dg.Output(None, output_name=made.output_name, metadata=shown)


def _events(command: Sequence[str], target: str) -> Iterator[dict[str, Any]]:
    """Run dbt in a thread and yield its events, as its JSON log would have them, the moment they occur.

    Its files go to the folder `target`. The last one is of our own, END, and tells whether dbt succeeded.

    Raises:
        BaseException: what dbt raised, as it does for settings and projects that it cannot use.
    """
    # Imported here: a second that only builds need.
    from dbt.cli.main import dbtRunner
    from dbt_common.events.functions import msg_to_dict

    events: queue.Queue[dict[str, Any] | BaseException] = queue.Queue()

    def run() -> None:
        try:
            runner = dbtRunner(parsed(), callbacks=[lambda event: events.put(msg_to_dict(event))])
            result = runner.invoke([*GLOBAL_OPTIONS, *command, *_places(target)])
            end = {"info": {"name": END, "level": "info", "msg": ""}, "data": {"success": result.success}}
            events.put(result.exception or end)
        except BaseException as error:  # whatever ends the thread must end the wait for its events
            events.put(error)

    # A daemon: a run that is cancelled ends with its process, and the server rolls back what was under way.
    threading.Thread(target=run, daemon=True).start()
    while True:
        event = events.get()
        if isinstance(event, BaseException):
            raise event
        yield event
        if event["info"]["name"] == END:
            return


def parsed() -> "Manifest":
    """Return the project as dbt itself holds it, read once a process: that takes longer than most builds.

    Raises:
        ProjectBroken: dbt cannot read it.
    """
    # It names the database, which is the only thing in it that comes from outside of the project.
    return _parsed_for(DatabaseSettings.read().pgdatabase)


@cache
def _parsed_for(_database: str | None) -> "Manifest":
    from dbt.cli.main import dbtRunner

    with tempfile.TemporaryDirectory(prefix="dbt-") as target:
        result = dbtRunner().invoke([*GLOBAL_OPTIONS, "parse", *_places(target)])
    if not result.success:
        raise ProjectBroken(f"the dbt project cannot be parsed: {result.exception}")
    return cast("Manifest", result.result)


def _places(target: str) -> list[str]:
    """Return where dbt finds the project and what was parsed of it before, and where its files go."""
    partly_parsed = PROJECT.manifest_path.with_name("partial_parse.msgpack")
    return [
        *("--project-dir", str(PROJECT.project_dir), "--profiles-dir", str(PROJECT.project_dir)),
        *("--target-path", target, "--partial-parse-file-path", str(partly_parsed)),
    ]
