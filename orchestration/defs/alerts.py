"""The sensor that posts alerts about failures; it runs if ALERT_WEBHOOK_URL is set."""

import dagster as dg

from orchestration.monitoring.alerts import AlertCursor, Undelivered, Webhook, newest_event, scan_runs
from orchestration.settings import AlertSettings, WrongSetting

TICK_INTERVAL_SECONDS = 15


@dg.sensor(
    minimum_interval_seconds=TICK_INTERVAL_SECONDS,
    default_status=(
        dg.DefaultSensorStatus.RUNNING if AlertSettings.read().alert_webhook_url else dg.DefaultSensorStatus.STOPPED
    ),
    description=(
        "Posts failures to ALERT_WEBHOOK_URL: a failed run of any job, an object that could not be loaded or is held "
        "back, a check that failed as an error. An object is reported once, and other failures are not repeated if the "
        "job's previous run failed in the same way. An alert that is not accepted is retried with each tick, which "
        "says why."
    ),
)
def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Scan the runs that have ended since the last tick, and report at most one of them."""
    settings = AlertSettings.read()
    try:
        address = settings.webhook
    except WrongSetting as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    if address is None:
        return dg.SkipReason("There are no alerts: set ALERT_WEBHOOK_URL and restart the code server.")
    webhook = Webhook(*address)
    if context.cursor is None:
        context.update_cursor(AlertCursor(event=newest_event(context.instance)).model_dump_json())
        return dg.SkipReason("Runs that end from now on are reported.")
    scan = scan_runs(context.instance, AlertCursor.read(context.cursor), settings.dagster_ui_url)
    if scan.alert is not None:
        run = f"run {scan.alert.run.run_id} of {scan.alert.run.job_name}"
        try:
            webhook.send(scan.alert.body)
        except Undelivered as error:
            # The cursor stays, so the next tick tries again.
            raise dg.Failure(f"{run} is not reported yet: {error}", allow_retries=False) from None
        context.update_cursor(scan.cursor.model_dump_json())
        return dg.SkipReason(f"Reported {run} to {webhook.host}.")
    context.update_cursor(scan.cursor.model_dump_json())
    return dg.SkipReason(f"Nothing to report: {scan.runs} run{'s' * (scan.runs != 1)} ended, without new failures.")
