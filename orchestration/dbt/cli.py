"""dbt in this process, with the interface of `dagster_dbt.DbtCliResource`: `dbt.cli([...], context=context).stream()`.

A separate dbt process takes about four seconds before its first statement, and DbtCliResource another four to set up an
adapter for metadata that is not requested here. The UI shows the same. The original takes the same arguments; with it,
an outage would end a build like any other error, and its `fetch_…` methods would provide rows and columns.
"""

import queue
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import dagster as dg
import psycopg
from dagster_dbt import DagsterDbtTranslator, DbtProject, default_metadata_from_dbt_resource_props
from dagster_dbt.asset_utils import get_subset_selection_for_context
from dagster_dbt.core.dbt_cli_event import DbtCoreCliEventMessage

from orchestration.database import is_outage
from orchestration.dbt.lock_watch import POLL_INTERVAL_SECONDS, LockWatch
from orchestration.dbt.metadata import column_history, in_database, previous_schema, rows
from orchestration.settings import overridden

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

    from orchestration.database import Connection

# dbt's messages of these levels go to the run's log; events contain the others.
LOGGED = {"warn": "warning", "error": "error"}
END = "End"
GLOBAL_OPTIONS = ("--quiet", "--no-send-anonymous-usage-stats", "--log-level-file", "none")


@dataclass(frozen=True)
class InProcessDbt:
    """dbt's commands for one project.

    Attributes:
        project: the project.
        environment: variables that are set while a command runs.
        parsed: the project as parsed by dbt; without it each command parses the project or reads dbt's cache.
        connection: of a role that reads the models, for the metadata that `stream` adds.
    """

    project: DbtProject
    environment: Mapping[str, str] = field(default_factory=dict)
    parsed: "Manifest | None" = None
    connection: "Connection | None" = None

    def cli(
        self,
        args: Sequence[str],
        *,
        manifest: Mapping[str, Any] | None = None,
        dagster_dbt_translator: DagsterDbtTranslator | None = None,
        context: dg.AssetExecutionContext | None = None,
        target_path: Path | None = None,
    ) -> "InProcessInvocation":
        """Return the invocation of a command, which starts with `stream` or `wait`.

        Args:
            args: the command and its options; the context's selection is added.
            manifest: the one passed to `@dbt_assets`.
            dagster_dbt_translator: the one passed to `@dbt_assets`.
            context: of the `@dbt_assets` function.
            target_path: the folder for dbt's files; by default a temporary one, without dbt's artifacts.
        """
        manifest, translator = manifest or {}, dagster_dbt_translator or DagsterDbtTranslator()
        selection = _selection(context, manifest, translator) if context else []
        return InProcessInvocation(self, [*args, *selection], manifest, translator, context, target_path)


@dataclass
class InProcessInvocation:
    """One dbt command, with the interface of `dagster_dbt.DbtCliInvocation`."""

    dbt: InProcessDbt
    command: Sequence[str]
    manifest: Mapping[str, Any]
    dagster_dbt_translator: DagsterDbtTranslator
    context: dg.AssetExecutionContext | None
    target_path: Path | None
    _errors: list[str] = field(default_factory=list)
    _outages: list[psycopg.Error] = field(default_factory=list)
    _is_success: bool = False

    def wait(self) -> Self:
        """Run the command to its end.

        Raises:
            BaseException: what dbt raised, for example for invalid settings or projects.
            RuntimeError: it failed without an exception.
        """
        for _ in self._raw_events():
            pass
        if not self._is_success:
            raise RuntimeError(f"dbt {' '.join(self.command)} failed")
        return self

    def stream(self) -> Iterator[Any]:
        """Yield Dagster's events as dbt produces them.

        Raises:
            psycopg.Error: dbt failed for a transient reason, an outage or a lock of another session.
            dagster.Failure: dbt failed for another reason; the message names the nodes and their errors.
        """
        context, connection = self.context, self.dbt.connection
        assert context is not None, "events belong to an asset's run"
        assert connection is not None, "events have metadata from the database"
        context.log.info(f"dbt {' '.join(self.command)}")
        manifest = in_database(connection, self.manifest)
        watch = LockWatch(context, connection)
        for event in self._raw_events():
            watch.poll()
            if event is None:
                continue
            if event["data"].get("node_info"):
                yield from self._dagster_events(context, connection, manifest, event)
            self._log(context, event["info"])
        if not self._is_success and self._outages:
            raise watch.explained(self._outages[0])
        if not self._is_success:
            raise dg.Failure(f"dbt: {'; '.join(dict.fromkeys(self._errors)) or 'failed'}", allow_retries=False)

    def _log(self, context: dg.AssetExecutionContext, info: Mapping[str, str]) -> None:
        message = info["msg"].strip()
        if info["level"] not in LOGGED or not message:
            return
        getattr(context.log, LOGGED[info["level"]])(message)
        # A node's own message only says that it failed; the reason comes at the end.
        if info["level"] == "error" and info["name"] not in ("LogTestResult", "LogModelResult"):
            self._errors.append(" ".join(message.split()))

    def _dagster_events(
        self,
        context: dg.AssetExecutionContext,
        connection: "Connection",
        manifest: Mapping[str, Any],
        event: dict[str, Any],
    ) -> Iterator[Any]:
        """Yield dagster-dbt's events for an event of dbt; those of a model include its rows and columns.

        Column lineage takes seconds to compute and depends only on the models' text: it is computed in a full refresh,
        and copied from the previous materialization otherwise.
        """
        unique_id = event["data"]["node_info"]["unique_id"]
        is_model = event["info"]["name"] == "LogModelResult" and event["data"]["node_info"]["node_status"] == "success"
        compiled = self.target_path if "--full-refresh" in self.command else None
        columns = column_history(connection, manifest, unique_id) if is_model and compiled else {}
        message = DbtCoreCliEventMessage(raw_event=event, event_history_metadata=columns)
        for dagster_event in message.to_default_asset_events(
            manifest, self.dagster_dbt_translator, context, target_path=compiled, project=self.dbt.project
        ):
            if not isinstance(dagster_event, dg.Output):
                yield dagster_event
                continue
            node = manifest["nodes"][unique_id]
            if compiled:
                structure = default_metadata_from_dbt_resource_props(columns)
            else:
                structure = previous_schema(context.instance, self.dagster_dbt_translator.get_asset_key(node))
            metadata = {**structure, **dagster_event.metadata, **rows(connection, node["relation_name"])}
            yield dg.Output(None, output_name=dagster_event.output_name, metadata=metadata)

    def _raw_events(self) -> Iterator[dict[str, Any] | None]:
        """Run dbt in a thread and yield its events as they occur, in the form of its JSON log.

        While there are no events, it yields None once per second.

        Raises:
            BaseException: what dbt raised, for example for invalid settings or projects.
        """
        options = GLOBAL_OPTIONS if self.target_path else (*GLOBAL_OPTIONS, "--no-write-json")
        with (
            nullcontext(self.target_path) if self.target_path else tempfile.TemporaryDirectory(prefix="dbt-") as target
        ):
            self.target_path = Path(target)
            events: queue.Queue[dict[str, Any] | BaseException] = queue.Queue()
            # A daemon thread: a canceled run ends its process, and the server rolls back open transactions.
            thread = threading.Thread(target=self._run, args=(options, events.put), daemon=True)
            thread.start()
            while True:
                try:
                    event = events.get(timeout=POLL_INTERVAL_SECONDS)
                except queue.Empty:
                    yield None
                    continue
                if isinstance(event, BaseException):
                    thread.join()
                    raise event
                if event["info"]["name"] == END:
                    thread.join()
                    self._is_success = event["data"]["success"]
                    return
                yield event

    def _run(self, options: Sequence[str], put: Callable[[dict[str, Any] | BaseException], None]) -> None:
        """Invoke dbt; put its events, and finally an event END or the exception that dbt raised."""
        # Imported here, because it takes a second that only builds need.
        from dbt.cli.main import dbtRunner
        from dbt_common.events.functions import msg_to_dict

        def observe(event: Any) -> None:
            put(msg_to_dict(event))
            # dbt fires events while it handles an error of its driver, of which it later keeps only the message.
            if (outage := _outage(sys.exc_info()[1])) is not None:
                self._outages.append(outage)

        drop_repeated_flags()
        folder = str(self.dbt.project.project_dir)
        places = ("--project-dir", folder, "--profiles-dir", folder, "--target-path", str(self.target_path))
        try:
            with overridden(self.dbt.environment):
                result = dbtRunner(self.dbt.parsed, callbacks=[observe]).invoke([*options, *self.command, *places])
            end = {"info": {"name": END}, "data": {"success": result.success}}
            # If the server is down, the exception is one of the outages.
            put(end if self._outages or not result.exception else result.exception)
        except BaseException as error:  # without an event, the consumer would wait for ever
            put(error)


def drop_repeated_flags() -> None:
    """Remove the flags that earlier commands of this process have added to a list that all of dbt's adapters share.

    Each command adds one and then walks the call stack for every flag in the list: after a hundred commands, that takes
    longer than a build.
    """
    from dbt.adapters.base.impl import DEFAULT_BASE_BEHAVIOR_FLAGS

    DEFAULT_BASE_BEHAVIOR_FLAGS[:] = {flag["name"]: flag for flag in DEFAULT_BASE_BEHAVIOR_FLAGS}.values()


def _selection(
    context: dg.AssetExecutionContext, manifest: Mapping[str, Any], translator: DagsterDbtTranslator
) -> list[str]:
    selection, indirect_selection = get_subset_selection_for_context(
        context=context,
        manifest=manifest,
        select="fqn:*",
        exclude=None,
        selector=None,
        dagster_dbt_translator=translator,
        current_dbt_indirect_selection_env=None,
    )
    return [*selection, *(("--indirect-selection", indirect_selection) if indirect_selection else ())]


def _outage(error: BaseException | None) -> psycopg.Error | None:
    """Return a transient error of dbt's driver as one of psycopg 3, None for any other error."""
    import psycopg2

    if not isinstance(error, psycopg2.Error) or isinstance(error, psycopg2.ProgrammingError):
        return None
    # Without a SQLSTATE, the connection failed.
    kind = psycopg.errors.lookup(error.pgcode) if error.pgcode else psycopg.OperationalError
    translated = kind(" ".join(str(error).split()))
    return translated if is_outage(translated) else None
