"""`python -m benchmarks.lone_load BUCKET`: load a bucket's hires and print the peak memory of the process in MB.

libpq's and boto3's own variables identify the servers.
"""

import resource
import sys
from pathlib import Path

import boto3

from contracts import TABLES
from orchestration.ingest.loader import Loaded, load_pending

STATUS = Path("/proc/self/status")


def main() -> None:
    """Load the bucket named on the command line."""
    (table,) = (table for table in TABLES if table.name == "hired_employees")
    (outcome,) = load_pending("", boto3.client("s3"), sys.argv[1], table)
    assert isinstance(outcome, Loaded), outcome
    print(peak_bytes() / 1e6)  # noqa: T201


def peak_bytes() -> int:
    """Return the peak memory of this process in bytes."""
    if STATUS.exists():
        # On Linux, a process inherits ru_maxrss from its parent, which may be larger; VmHWM is its own.
        (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
