"""Free disk space and the sizes of the databases, without Dagster."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from orchestration.database import Connection

# A rebuild of all models writes them again, with a log, before the old rows are removed, and needs space for that. A
# plain share would be far too much on a large disk, and too little on a small one.
LOW_SHARE = 0.05
MIN_LOW_BYTES = 1 << 30
MAX_LOW_BYTES = 10 << 30
# Below twice as much there is a warning.
SCARCE_FACTOR = 2


@dataclass(frozen=True)
class DiskSpace:
    """The disk that a folder is on, in bytes."""

    free: int
    total: int

    @property
    def share(self) -> float:
        """The free share, 0 to 1."""
        return self.free / self.total if self.total else 0.0

    @property
    def low_bytes(self) -> int:
        """Free space below which a load or a build may fail."""
        return max(MIN_LOW_BYTES, min(MAX_LOW_BYTES, int(self.total * LOW_SHARE)))

    @property
    def state(self) -> Literal["enough", "scarce", "low"]:
        """The free space as a category."""
        if self.free < self.low_bytes:
            return "low"
        return "scarce" if self.free < SCARCE_FACTOR * self.low_bytes else "enough"


def disk_space(folder: Path) -> DiskSpace:
    """Return the space on a folder's disk; if the folder does not exist yet, on the disk of its nearest parent."""
    while not folder.exists():
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    # Without the share that file systems reserve for root.
    return DiskSpace(usage.free, usage.used + usage.free)


def database_sizes(connection: "Connection") -> dict[str, int]:
    """Return the sizes of the server's databases in bytes by name, largest first; takes some 10 ms per database.

    Databases that the connection's role may not connect to are left out.
    """
    rows = connection.execute("""
        select datname, pg_database_size(oid) as bytes
        from pg_database
        where datallowconn and not datistemplate and has_database_privilege(oid, 'connect')
        order by bytes desc
    """)
    return {str(name): int(size) for name, size in rows}
