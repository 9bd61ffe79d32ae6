"""Alerts to people outside about what went wrong in a run: what is reported, when it is not repeated, the webhook."""

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
RUNS_PER_LOOK = 50
# Far more than the checks of all tables name at once (MAX_LOADS_NAMED each): what is still shown is remembered.
MAX_LOADS_REMEMBERED = 5000
# A sensor's tick may take a minute; a receiver that takes all of these is reported as unreachable within half of it.
ATTEMPTS = 3
PAUSE_SECONDS = 0.5
CONNECT_SECONDS = 3
ANSWER_SECONDS = 5
# A message is to be read at a glance; the run's page has the rest.
MAX_FAILURES_SHOWN = 10
MAX_CHARACTERS_PER_FAILURE = 600


class Undelivered(RuntimeError):
    """The receiver did not take an alert; the message names its host only, since the address may be a secret."""


@dataclass(frozen=True)
class Webhook:
    """Who is alerted: an address that takes JSON by POST, and what it wants as bearer token, if anything."""

    url: str
    token: str | None = None

    @property
    def host(self) -> str:
        """The address without what may be secret in it."""
        return urlsplit(self.url).hostname or ""

    def send(self, body: Mapping[str, Any]) -> None:
        """Post a JSON object; try again, soon and not for long, when the receiver is away or failing itself.

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
        # Imported here: the code server has no need of it while all is well.
        import urllib3

        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS)
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            with urllib3.PoolManager(timeout=timeout, retries=False) as pool:
                # Only the status counts: a body that never ends must not hold the sensor up.
                answer = pool.request("POST", self.url, json=body, headers=headers, preload_content=False)
                status = answer.status
                answer.close()
        except urllib3.exceptions.HTTPError as error:
            # The error's own words may have the address.
            raise Undelivered(f"{self.host} does not answer: {type(error).__name__}") from None
        if not 200 <= status < 300:
            raise Undelivered(f"{self.host} answered with status {status}")


@dataclass(frozen=True)
class Alert:
    """What is reported of a run."""

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
        """All of it for a chat, in the characters that Slack takes for text."""
        lines = [f"{self.run.job_name} {self._what}" + (f" ({self.object})" if self.object else "")]
        lines += [f"• {failure.where}: {failure.why}" for failure in self._shortened()]
        if len(self.failures) > MAX_FAILURES_SHOWN:
            lines.append(f"… and {len(self.failures) - MAX_FAILURES_SHOWN} more")
        return "\n".join([*map(_escaped, lines), self.url])

    @property
    def _what(self) -> str:
        loads = sum(failure.load_id is not None for failure in self.failures)
        if loads == len(self.failures):
            return f"met {loads} file{'s' * (loads != 1)} of which nothing counts"
        return "failed" if self.run.is_failure else "ended well, but not all is well"

    @property
    def body(self) -> dict[str, Any]:
        """What is posted: `text` for Slack and what takes the same, the parts of it for programs."""
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
                each, why=each.why[:MAX_CHARACTERS_PER_FAILURE] + "…" * (len(each.why) > MAX_CHARACTERS_PER_FAILURE)
            )
            for each in self.failures[:MAX_FAILURES_SHOWN]
        ]


def _escaped(line: str) -> str:
    # Otherwise a name in a file could call everybody in the channel.
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class AlertCursor(BaseModel):
    """Up to which event of the runs' ends everything is reported, and which failed or held loads are.

    A load is shown by each check of its table until another one takes its place, and reported once.
    """

    event: int
    loads: list[int] = []

    @classmethod
    def read(cls, text: str) -> "AlertCursor":
        """Return what a cursor holds; an earlier version kept the event alone."""
        return cls(event=int(text)) if text.isdecimal() else cls.model_validate_json(text)

    def after(self, event: int) -> "AlertCursor":
        """Return the cursor when everything up to an event is reported."""
        return self.model_copy(update={"event": event})

    def with_reported(self, failures: Iterable[Failure]) -> "AlertCursor":
        """Return the cursor when the loads of some failures are reported."""
        loads = {*self.loads, *(each.load_id for each in failures if each.load_id is not None)}
        return self.model_copy(update={"loads": sorted(loads)[-MAX_LOADS_REMEMBERED:]})


@dataclass(frozen=True)
class Look:
    """What a look at the runs that ended has found: the cursor once that is reported, how many, the first to report."""

    cursor: AlertCursor
    runs: int
    alert: Alert | None


def newest(instance: dg.DagsterInstance) -> int:
    """Return the number of the newest event that ended a run, 0 when there is none."""
    found = [instance.fetch_run_status_changes(kind, limit=1).records for kind in ENDS]
    return max((record.storage_id for records in found for record in records), default=0)


def look(instance: dg.DagsterInstance, before: AlertCursor, ui_url: str) -> Look:
    """Look at the runs that ended after an event, up to the first one that somebody has to know of.

    What went wrong is reported, also in a run that did not fail. A load that failed or is held is reported once. Of the
    rest, what went wrong in the job's run before in the same way is not repeated: while a server is away, a run fails
    every few minutes.
    """
    after = before.event
    found = [
        record
        for kind in ENDS
        for record in instance.fetch_run_status_changes(
            RunStatusChangeRecordsFilter(kind, after_storage_id=after), limit=RUNS_PER_LOOK, ascending=True
        ).records
    ]
    found.sort(key=lambda record: record.storage_id)
    cursor = after
    for number, record in enumerate(found[:RUNS_PER_LOOK], 1):
        cursor = record.storage_id
        run = instance.get_run_by_id(record.run_id)
        if run and (failures := _new_failures(instance, run, before.loads)):
            return Look(before.after(cursor).with_reported(failures), number, Alert(run, failures, ui_url))
    return Look(before.after(cursor), min(len(found), RUNS_PER_LOOK), None)


def _new_failures(instance: dg.DagsterInstance, run: dg.DagsterRun, reported: Collection[int]) -> tuple[Failure, ...]:
    failures = [each for each in failures_in(instance, run.run_id) if each.load_id not in reported]
    if all(each.load_id is not None for each in failures):
        return tuple(failures)
    known = _failures_before(instance, run)
    return tuple(each for each in failures if each.load_id is not None or each not in known)


def _failures_before(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[Failure]:
    """Return what went wrong in the last run of the same job, and of the same object, that ended before this one."""
    partition = run.tags.get("dagster/partition")
    filters = dg.RunsFilter(
        job_name=run.job_name,
        statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE],
        tags={"dagster/partition": partition} if partition else None,
    )
    before = instance.get_runs(filters, cursor=run.run_id, limit=1)
    return failures_in(instance, before[0].run_id) if before else []
