"""How much room the disk has, and how large the databases are; no Dagster."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from orchestration.database import Connection

# A rebuild of all models writes them once more, with its log, before the old ones go: a disk that is nearly full does
# not survive it. Of a large disk a share would be far more than is ever needed, of a small one far less.
LOW_SHARE = 0.05
LOW_BYTES_AT_LEAST = 1 << 30
LOW_BYTES_AT_MOST = 10 << 30
# From twice as much on it is time to look.
SCARCE_FACTOR = 2


@dataclass(frozen=True)
class Room:
    """The disk that a folder is on, in bytes."""

    free: int
    total: int

    @property
    def share(self) -> float:
        """What is free, 0 to 1."""
        return self.free / self.total if self.total else 0.0

    @property
    def low_bytes(self) -> int:
        """With less free than this a load or a build may fail."""
        return max(LOW_BYTES_AT_LEAST, min(LOW_BYTES_AT_MOST, int(self.total * LOW_SHARE)))

    @property
    def state(self) -> Literal["enough", "scarce", "low"]:
        """How that is."""
        if self.free < self.low_bytes:
            return "low"
        return "scarce" if self.free < SCARCE_FACTOR * self.low_bytes else "enough"


def room(folder: Path) -> Room:
    """Return how much room the disk of a folder has; a folder that is not there yet counts by the one above it."""
    while not folder.exists():
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    # What is left to us: file systems keep a share for root.
    return Room(usage.free, usage.used + usage.free)


def database_sizes(connection: "Connection") -> dict[str, int]:
    """Return the bytes of the server's databases by name, the largest first.

    Those that the connection's role may not connect to are left out. One that is served to others takes 10 ms.
    """
    rows = connection.execute("""
        select datname, pg_database_size(oid) as bytes
        from pg_database
        where datallowconn and not datistemplate and has_database_privilege(oid, 'connect')
        order by bytes desc
    """)
    return {str(name): int(size) for name, size in rows}
