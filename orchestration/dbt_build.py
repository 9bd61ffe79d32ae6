"""dbt in this process, its events as Dagster's: what DbtCliResource does, without a second process and adapter.

A dbt process of its own costs about four seconds before its first statement, and DbtCliResource about as much again to
set up an adapter for metadata that is not asked for here. What the UI shows is the same.
"""

import queue
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator
from dagster_dbt.asset_utils import get_subset_selection_for_context
from dagster_dbt.core.dbt_cli_event import DbtCoreCliEventMessage

from orchestration.dbt import PROJECT, manifest

# What dbt tells at these levels goes into the run's log; the rest is in the events.
LOGGED = {"warn": "warning", "error": "error"}
END = "End"


def build(
    context: dg.AssetExecutionContext, translator: DagsterDbtTranslator, arguments: Sequence[str]
) -> Iterator[Any]:
    """Run a dbt command over what the context selects; yield Dagster's events as dbt produces them.

    Args:
        context: of the asset that `@dbt_assets` made.
        translator: the one that asset was made with.
        arguments: dbt's command and its options; the selection is added.

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
    for event in _events(command):
        info = event["info"]
        if event["data"].get("node_info"):
            message = DbtCoreCliEventMessage(raw_event=event, event_history_metadata={})
            yield from message.to_default_asset_events(manifest(), translator, context, project=PROJECT)
        if info["level"] in LOGGED and info["msg"].strip():
            getattr(context.log, LOGGED[info["level"]])(info["msg"].strip())
            # A node's own line only says that it failed; why comes at the end.
            if info["level"] == "error" and info["name"] not in ("LogTestResult", "LogModelResult"):
                errors.append(" ".join(info["msg"].split()))
        if info["name"] == END and not event["data"]["success"]:
            raise dg.Failure(f"dbt: {'; '.join(dict.fromkeys(errors)) or 'failed'}", allow_retries=False)


def _events(command: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Run dbt in a thread and yield its events, as its JSON log would have them, the moment they occur.

    The last one is of our own, END, and tells whether dbt succeeded.

    Raises:
        BaseException: what dbt raised, as it does for settings and projects that it cannot use.
    """
    # Imported here: a second that only builds need.
    from dbt.cli.main import dbtRunner
    from dbt_common.events.functions import msg_to_dict

    events: queue.Queue[dict[str, Any] | BaseException] = queue.Queue()

    def run(target: str) -> None:
        parsed = PROJECT.manifest_path.with_name("partial_parse.msgpack")
        options = [
            *("--quiet", "--no-write-json", "--no-send-anonymous-usage-stats", "--log-level-file", "none"),
            *command,
            *("--project-dir", str(PROJECT.project_dir), "--profiles-dir", str(PROJECT.project_dir)),
            *("--target-path", target, "--partial-parse-file-path", str(parsed)),
        ]
        try:
            result = dbtRunner(callbacks=[lambda event: events.put(msg_to_dict(event))]).invoke(options)
            end = {"info": {"name": END, "level": "info", "msg": ""}, "data": {"success": result.success}}
            events.put(result.exception or end)
        except BaseException as error:  # whatever ends the thread must end the wait for its events
            events.put(error)

    with tempfile.TemporaryDirectory(prefix="dbt-") as target:
        # A daemon: a run that is cancelled ends with its process, and the server rolls back what was under way.
        threading.Thread(target=run, args=[target], daemon=True).start()
        while True:
            event = events.get()
            if isinstance(event, BaseException):
                raise event
            yield event
            if event["info"]["name"] == END:
                return
