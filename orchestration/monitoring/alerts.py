"""Alerts about failures of runs: what is reported, what is not repeated, and the webhook."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urlsplit

import dagster as dg
from dagster import DagsterEventType, RunStatusChangeRecordsFilter
from pydantic import BaseModel
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from orchestration.arrivals.partitions import key_of
from orchestration.monitoring.failures import Failure, failures_in

ENDS: tuple[Literal[DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_SUCCESS], ...] = (
    DagsterEventType.RUN_FAILURE,
    DagsterEventType.RUN_SUCCESS,
)
MAX_RUNS_PER_TICK = 50
# Far more than the checks of all tables name (failures.MAX_LOADS each), so that loads still shown are remembered.
MAX_REMEMBERED_LOADS = 5000
# A tick may take a minute; with all of these, a receiver is reported as unreachable within half of it.
ATTEMPTS = 3
PAUSE_SECONDS = 0.5
CONNECT_SECONDS = 3
ANSWER_SECONDS = 5
# A message should be readable at a glance; the run's page has the rest.
MAX_FAILURES = 10
MAX_FAILURE_CHARACTERS = 600


class Undelivered(RuntimeError):
    """The receiver did not accept an alert; the message names its host only, since the URL may be a secret."""


@dataclass(frozen=True)
class Webhook:
    """The receiver of alerts: a URL that accepts JSON by POST, and its bearer token, if any."""

    url: str
    token: str | None = None

    @property
    def host(self) -> str:
        """The URL's host, without what may be secret."""
        return urlsplit(self.url).hostname or ""

    def send(self, body: Mapping[str, Any]) -> None:
        """Post a JSON object, with a few quick retries if the receiver is down or answers with an error.

        Raises:
            Undelivered: it did not answer with success.
        """
        attempts = Retrying(
            retry=retry_if_exception_type(Undelivered),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential(multiplier=PAUSE_SECONDS),
            reraise=True,
        )
        attempts(self._post, body)

    def _post(self, body: Mapping[str, Any]) -> None:
        # Imported here: the code server rarely needs it.
        import urllib3

        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS)
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            with urllib3.PoolManager(timeout=timeout, retries=False) as pool:
                # Only the status counts: a body that never ends must not block the sensor.
                answer = pool.request("POST", self.url, json=body, headers=headers, preload_content=False)
                status = answer.status
                answer.close()
        except urllib3.exceptions.HTTPError as error:
            # The error's message may contain the URL.
            raise Undelivered(f"{self.host} does not answer: {type(error).__name__}") from None
        if not 200 <= status < 300:
            raise Undelivered(f"{self.host} answered with status {status}")


@dataclass(frozen=True)
class Alert:
    """A run and the failures to report."""

    run: dg.DagsterRun
    failures: tuple[Failure, ...]
    ui_url: str

    @property
    def url(self) -> str:
        """The run's page."""
        return f"{self.ui_url.rstrip('/')}/runs/{self.run.run_id}"

    @property
    def object(self) -> str | None:
        """The key of the object that the run was about, if it was about one."""
        partition = self.run.tags.get("dagster/partition")
        return key_of(partition) if partition else None

    @property
    def text(self) -> str:
        """The alert as a chat message, escaped for Slack."""
        lines = [f"{self.run.job_name} {self._outcome}" + (f" ({self.object})" if self.object else "")]
        lines += [f"• {failure.where}: {failure.why}" for failure in self._shortened()]
        if len(self.failures) > MAX_FAILURES:
            lines.append(f"… and {len(self.failures) - MAX_FAILURES} more")
        return "\n".join([*map(_escaped, lines), self.url])

    @property
    def _outcome(self) -> str:
        loads = sum(failure.load_id is not None for failure in self.failures)
        if loads == len(self.failures):
            return f"met {loads} failed or held-back file{'s' * (loads != 1)}"
        return "failed" if self.run.is_failure else "succeeded, but with failed checks"

    @property
    def body(self) -> dict[str, Any]:
        """The JSON to post: `text` for Slack and compatible receivers, the other fields for programs."""
        return {
            "text": self.text,
            "job": self.run.job_name,
            "status": self.run.status.value.lower(),
            "object": self.object,
            "troubles": [{"where": failure.where, "why": failure.why} for failure in self._shortened()],
            "run_id": self.run.run_id,
            "run_url": self.url,
        }

    def _shortened(self) -> list[Failure]:
        return [
            replace(
                failure, why=failure.why[:MAX_FAILURE_CHARACTERS] + "…" * (len(failure.why) > MAX_FAILURE_CHARACTERS)
            )
            for failure in self.failures[:MAX_FAILURES]
        ]


def _escaped(line: str) -> str:
    # Otherwise a name in a file could notify everybody in the channel.
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class AlertCursor(BaseModel):
    """The event up to which all ended runs are reported, and the failed or held loads that are.

    A load is reported once, although each check of its table shows it until a later load replaces it.
    """

    event: int
    loads: list[int] = []

    @classmethod
    def read(cls, text: str) -> "AlertCursor":
        """Return the content of a cursor; an earlier version stored the event only."""
        return cls(event=int(text)) if text.isdecimal() else cls.model_validate_json(text)

    def after(self, event: int) -> "AlertCursor":
        """Return the cursor after everything up to an event was reported."""
        return self.model_copy(update={"event": event})

    def with_reported(self, failures: Iterable[Failure]) -> "AlertCursor":
        """Return the cursor after the loads of some failures were reported."""
        loads = {*self.loads, *(failure.load_id for failure in failures if failure.load_id is not None)}
        return self.model_copy(update={"loads": sorted(loads)[-MAX_REMEMBERED_LOADS:]})


@dataclass(frozen=True)
class AlertScan:
    """A scan of ended runs: how many, the first alert, if any, and the cursor for once it is delivered."""

    cursor: AlertCursor
    runs: int
    alert: Alert | None


def newest_event(instance: dg.DagsterInstance) -> int:
    """Return the number of the newest event that ended a run, 0 if there is none."""
    newest = [instance.fetch_run_status_changes(kind, limit=1).records for kind in ENDS]
    return max((record.storage_id for records in newest for record in records), default=0)


def scan_runs(instance: dg.DagsterInstance, before: AlertCursor, ui_url: str) -> AlertScan:
    """Scan the runs that ended after an event, up to the first one that has to be reported.

    Failures are reported even if the run did not fail. A load that failed or is held is reported once. Other failures
    are not repeated if the job's previous run failed in the same way: while a server is down, a run fails every few
    minutes.

    Args:
        instance: Dagster's instance.
        before: the cursor after the last scan.
        ui_url: where Dagster's UI is.
    """
    after = before.event
    ended = [
        record
        for kind in ENDS
        for record in instance.fetch_run_status_changes(
            RunStatusChangeRecordsFilter(kind, after_storage_id=after), limit=MAX_RUNS_PER_TICK, ascending=True
        ).records
    ]
    ended.sort(key=lambda record: record.storage_id)
    cursor = after
    for count, record in enumerate(ended[:MAX_RUNS_PER_TICK], 1):
        cursor = record.storage_id
        run = instance.get_run_by_id(record.run_id)
        if run and (failures := _new_failures(instance, run, before.loads)):
            return AlertScan(before.after(cursor).with_reported(failures), count, Alert(run, failures, ui_url))
    return AlertScan(before.after(cursor), min(len(ended), MAX_RUNS_PER_TICK), None)


def _new_failures(instance: dg.DagsterInstance, run: dg.DagsterRun, reported: Collection[int]) -> tuple[Failure, ...]:
    failures = [failure for failure in failures_in(instance, run.run_id) if failure.load_id not in reported]
    if all(failure.load_id is not None for failure in failures):
        return tuple(failures)
    previous = _previous_failures(instance, run)
    return tuple(failure for failure in failures if failure.load_id is not None or failure not in previous)


def _previous_failures(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[Failure]:
    """Return the failures of the previous run of the same job and object."""
    partition = run.tags.get("dagster/partition")
    filters = dg.RunsFilter(
        job_name=run.job_name,
        statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE],
        tags={"dagster/partition": partition} if partition else None,
    )
    before = instance.get_runs(filters, cursor=run.run_id, limit=1)
    return failures_in(instance, before[0].run_id) if before else []
