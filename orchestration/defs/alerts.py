"""The sensor that alerts people of what went wrong; it runs where ALERT_WEBHOOK_URL says whom to alert."""

import dagster as dg

from orchestration.monitoring.alerts import AlertCursor, Undelivered, Webhook, look, newest
from orchestration.settings import AlertSettings, WrongSetting

POLL_INTERVAL_SECONDS = 15


@dg.sensor(
    minimum_interval_seconds=POLL_INTERVAL_SECONDS,
    default_status=(
        dg.DefaultSensorStatus.RUNNING if AlertSettings.read().alert_webhook_url else dg.DefaultSensorStatus.STOPPED
    ),
    description=(
        "Posts to ALERT_WEBHOOK_URL what went wrong in a run: a failed run of any job, an object that could not be "
        "loaded or is held back, a check that failed as an error. An object is told once, and what went wrong in the "
        "job's run before in the same way is not told again. An alert that is not taken is tried again with each tick, "
        "and the tick says why."
    ),
)
def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Look at the runs that have ended since the last look, and tell of one of them at most."""
    settings = AlertSettings.read()
    try:
        address = settings.webhook
    except WrongSetting as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    if address is None:
        return dg.SkipReason("Nobody is told: set ALERT_WEBHOOK_URL and start the code server again.")
    webhook = Webhook(*address)
    if context.cursor is None:
        context.update_cursor(AlertCursor(event=newest(context.instance)).model_dump_json())
        return dg.SkipReason("Runs that end from now on are looked at.")
    found = look(context.instance, AlertCursor.read(context.cursor), settings.dagster_ui_url)
    if found.alert is not None:
        run = f"run {found.alert.run.run_id} of {found.alert.run.job_name}"
        try:
            webhook.send(found.alert.body)
        except Undelivered as error:
            # Without the cursor moved: the next tick tries again.
            raise dg.Failure(f"{run} is not told of yet: {error}", allow_retries=False) from None
        context.update_cursor(found.cursor.model_dump_json())
        return dg.SkipReason(f"Told {webhook.host} of {run}.")
    context.update_cursor(found.cursor.model_dump_json())
    return dg.SkipReason(f"Nothing to tell: {found.runs} run{'s' * (found.runs != 1)} ended, none in a new trouble.")
