"""When a step is retried within its run: after transient errors, and never after what somebody has to repair."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import psycopg

from orchestration.database import LockTimeout, is_outage
from orchestration.ingest.objects import BucketUnavailable, is_transient
from orchestration.ingest.session import DatabaseUnavailable

# Sensors start another run after a failed one by themselves. This is for the runs that somebody or a schedule has
# started, and for the models' builds: dbt gives up with the first connection that is cut, a load after two minutes.
RETRIES = 3
FIRST_PAUSE_SECONDS = 15.0


@contextmanager
def retried(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> Iterator[None]:
    """Ask for another attempt at the step when what ends the block passes; end it in one line when it does not.

    A retry policy would do so after any exception, a cancelled run among them.

    Raises:
        dagster.RetryRequested: a server went away; the next attempt goes on after what is committed.
        dagster.Failure: what time does not repair, or what the block raised itself.
    """
    try:
        yield
    except BucketUnavailable as error:
        if is_transient(error):
            raise _again(context, str(error)) from dg.Failure(str(error))
        raise dg.Failure(str(error), allow_retries=False) from None
    except LockTimeout as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    except (DatabaseUnavailable, psycopg.Error) as error:
        if isinstance(error, psycopg.Error) and not is_outage(error):
            raise
        message = " ".join(str(error).split())
        raise _again(context, message) from dg.Failure(message)
    except dg.Failure as error:
        # Not to be reached is a wrong setting in a first attempt, and a restart that lasts in another.
        if context.retry_number and isinstance(error.__context__, psycopg.OperationalError):
            raise _again(context, str(error.description)) from error
        raise


def _again(context: dg.AssetExecutionContext | dg.OpExecutionContext, why: str) -> dg.RetryRequested:
    seconds = FIRST_PAUSE_SECONDS * 2**context.retry_number
    if context.retry_number < RETRIES:
        context.log.warning(f"{why}; attempt {context.retry_number + 2} of {RETRIES + 1} in {seconds:.0f} s")
    return dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=seconds)
