"""Retries of a step within its run: after transient errors only, never after errors that a person has to fix."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import psycopg

from orchestration.database import LockTimeout, is_outage
from orchestration.ingest.objects import BucketUnavailable, is_transient
from orchestration.ingest.session import DatabaseUnavailable

# Sensors start another run after a failed one. This is for runs that a person or a schedule has started, and for
# builds: dbt gives up at the first lost connection, a load after two minutes.
RETRIES = 3
FIRST_PAUSE_SECONDS = 15.0


@contextmanager
def retried(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> Iterator[None]:
    """Request a retry of the step if the block fails with a transient error, else fail with a one-line message.

    A retry policy would retry after any exception, including a cancelled run.

    Raises:
        dagster.RetryRequested: a server is down; the next attempt resumes after what is committed.
        dagster.Failure: a permanent error, or a failure that the block raised itself.
    """
    try:
        yield
    except BucketUnavailable as error:
        if is_transient(error):
            raise _retry(context, str(error)) from dg.Failure(str(error))
        raise dg.Failure(str(error), allow_retries=False) from None
    except LockTimeout as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    except (DatabaseUnavailable, psycopg.Error) as error:
        if isinstance(error, psycopg.Error) and not is_outage(error):
            raise
        message = " ".join(str(error).split())
        raise _retry(context, message) from dg.Failure(message)
    except dg.Failure as error:
        # An unreachable server means a wrong setting in the first attempt, and a long restart in later ones.
        if context.retry_number and isinstance(error.__context__, psycopg.OperationalError):
            raise _retry(context, str(error.description)) from error
        raise


def _retry(context: dg.AssetExecutionContext | dg.OpExecutionContext, why: str) -> dg.RetryRequested:
    seconds = FIRST_PAUSE_SECONDS * 2**context.retry_number
    if context.retry_number < RETRIES:
        context.log.warning(f"{why}; attempt {context.retry_number + 2} of {RETRIES + 1} in {seconds:.0f} s")
    return dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=seconds)
