"""dbt in this process, its events as Dagster's: what DbtCliResource does, without a second process and adapter.

A dbt process of its own costs about four seconds before its first statement, and DbtCliResource about as much again to
set up an adapter for metadata that is not asked for here. What the UI shows is the same.
"""

import queue
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import psycopg
from dagster_dbt import DagsterDbtTranslator
from dagster_dbt.asset_utils import default_metadata_from_dbt_resource_props as described
from dagster_dbt.asset_utils import get_subset_selection_for_context
from dagster_dbt.core.dbt_cli_event import DbtCoreCliEventMessage

from orchestration.database import is_outage
from orchestration.dbt.metadata import column_history, in_database, previous_schema, rows
from orchestration.dbt.project import PROJECT, manifest, parsed_in_database, session_variables
from orchestration.settings import BuildSettings, DatabaseSettings, overridden
from orchestration.warehouse.locks import Session, blockers

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

    from orchestration.database import Connection

# What dbt tells at these levels goes into the run's log; the rest is in the events.
LOGGED = {"warn": "warning", "error": "error"}
END = "End"
# So often a build looks whether it waits for another session.
LOOK_SECONDS = 1.0
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
        psycopg.Error: dbt failed for a reason that may pass with time, an outage or a lock of another session.
        dagster.Failure: dbt failed for another reason; the message says at which nodes and why.
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
    errors: list[str] = []
    outages: list[psycopg.Error] = []
    is_success = False
    watch = _LockWatch(context, connection)
    with tempfile.TemporaryDirectory(prefix="dbt-") as target:
        compiled = Path(target) if "--full-refresh" in arguments else None
        for event in _events(command, target, outages):
            watch.look()
            if event is None:
                continue
            info = event["info"]
            if event["data"].get("node_info"):
                yield from _dagster_events(context, translator, event, connection, compiled)
            if info["level"] in LOGGED and info["msg"].strip():
                getattr(context.log, LOGGED[info["level"]])(info["msg"].strip())
                # A node's own line only says that it failed; why comes at the end.
                if info["level"] == "error" and info["name"] not in ("LogTestResult", "LogModelResult"):
                    errors.append(" ".join(info["msg"].split()))
            if info["name"] == END:
                is_success = event["data"]["success"]
    if not is_success and outages:
        raise watch.explained(outages[0])
    if not is_success:
        raise dg.Failure(f"dbt: {'; '.join(dict.fromkeys(errors)) or 'failed'}", allow_retries=False)


class _LockWatch:
    """Names in a run's log the sessions that dbt waits for, each once."""

    def __init__(self, context: dg.AssetExecutionContext, connection: "Connection") -> None:
        self._context = context
        self._connection = connection
        self._next_look = time.monotonic() + LOOK_SECONDS
        self._blockers: dict[int, Session] = {}

    def look(self) -> None:
        """Look whether dbt waits, if that has not been done just now."""
        if time.monotonic() < self._next_look:
            return
        for session in blockers(self._connection):
            if session.pid not in self._blockers:
                self._context.log.warning(f"The build waits: {session}.")
            self._blockers[session.pid] = session
        self._next_look = time.monotonic() + LOOK_SECONDS

    def explained(self, error: psycopg.Error) -> psycopg.Error:
        """Return the error, or for a lock that was not to be had one that says whose it is."""
        if not isinstance(error, psycopg.errors.LockNotAvailable) or not self._blockers:
            return error
        waited = BuildSettings.read().build_lock_timeout_seconds
        whose = "; ".join(map(str, self._blockers.values()))
        return type(error)(
            f"the build has waited {waited:g} s for a lock, and in vain: {whose}; "
            "end its transaction or that session, for example with pg_terminate_backend"
        )


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


def _events(command: Sequence[str], target: str, outages: list[psycopg.Error]) -> Iterator[dict[str, Any] | None]:
    """Run dbt in a thread and yield its events, as its JSON log would have them, the moment they occur.

    The last one is of our own, END, and tells whether dbt succeeded. Where nothing occurs for a while, that is None.

    Args:
        command: dbt's command and its options.
        target: the folder that its files go to.
        outages: gets the server's errors that may pass with time.

    Raises:
        BaseException: what dbt raised, as it does for settings and projects that it cannot use.
    """
    # Imported here: a second that only builds need.
    from dbt.cli.main import dbtRunner
    from dbt_common.events.functions import msg_to_dict

    events: queue.Queue[dict[str, Any] | BaseException] = queue.Queue()

    def observe(event: Any) -> None:
        events.put(msg_to_dict(event))
        # dbt reports an error of its driver while it handles it, and keeps only the words.
        if (outage := _outage(sys.exc_info()[1])) is not None:
            outages.append(outage)

    def run() -> None:
        try:
            with overridden(session_variables()):
                result = dbtRunner(parsed(), callbacks=[observe]).invoke([*GLOBAL_OPTIONS, *command, *_places(target)])
            end = {"info": {"name": END, "level": "info", "msg": ""}, "data": {"success": result.success}}
            # What it raises for a server that is away is one of the outages.
            events.put(end if outages or not result.exception else result.exception)
        except BaseException as error:  # whatever ends the thread must end the wait for its events
            events.put(error)

    # A daemon: a run that is cancelled ends with its process, and the server rolls back what was under way.
    threading.Thread(target=run, daemon=True).start()
    while True:
        try:
            event = events.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            yield None
            continue
        if isinstance(event, BaseException):
            raise event
        yield event
        if event["info"]["name"] == END:
            return


def _outage(error: BaseException | None) -> psycopg.Error | None:
    """Return an error of dbt's driver as one of psycopg 3's, if it may pass with time."""
    import psycopg2

    if not isinstance(error, psycopg2.Error) or isinstance(error, psycopg2.ProgrammingError):
        return None
    # Without a SQLSTATE it is the connection that failed.
    kind = psycopg.errors.lookup(error.pgcode) if error.pgcode else psycopg.OperationalError
    known = kind(" ".join(str(error).split()))
    return known if is_outage(known) else None


def parsed() -> "Manifest":
    """Return the project as dbt itself holds it, in the database of the environment; read once per process.

    Raises:
        ProjectBroken: dbt cannot parse it.
    """
    return _parsed_for(DatabaseSettings.read().pgdatabase)


@cache
def _parsed_for(database: str | None) -> "Manifest":
    return parsed_in_database(database or "")


def _places(target: str) -> list[str]:
    """Return where dbt finds the project, and where its files go."""
    return [
        *("--project-dir", str(PROJECT.project_dir), "--profiles-dir", str(PROJECT.project_dir)),
        *("--target-path", target),
    ]
