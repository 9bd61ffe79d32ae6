"""One build of the models at a time, whoever starts it: tests of one must not look at what another has half done."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestration.database import Connection

LOCK = ["build of the models"]


def acquire_build_lock(connection: "Connection", tell: Callable[[str], None]) -> None:
    """Take the right to build the models for as long as the session lasts; wait while another session has it.

    It goes with the session: a build whose process is killed keeps nobody waiting.

    Args:
        connection: of any role; to be closed when the build is over.
        tell: is told when there is somebody to wait for.
    """
    if connection.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", LOCK).fetchone() != (True,):
        tell("Another run is building the models; waiting for that to end.")
        connection.execute("select pg_advisory_lock(hashtextextended(%s, 0))", LOCK)
