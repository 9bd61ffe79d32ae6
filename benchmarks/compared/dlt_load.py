# mypy: ignore-errors
"""Load buckets' hires with dlt, one after the other, and print the seconds that each takes, a line each.

Runs in the environment of compared.lock; where the servers are is in dlt's own variables. Arrow reads the CSV, so that
dlt's extraction never touches a single record. As dlt comes, it then writes insert statements for Postgres. Tuned,
files of CSV go there by COPY, several at a time: of what dlt offers this was the fastest where it was tried; parquet
through ADBC and typed columns took longer, and ours are text, too.
"""

import sys
import time

import dlt
import pyarrow as pa
from dlt.sources.filesystem import filesystem
from pyarrow import csv

COLUMNS = ("id", "name", "datetime", "department_id", "job_id")
RECORDS_PER_FILE = 250_000
BLOCK_BYTES = 16 << 20


@dlt.transformer(name="hired_employees", write_disposition="append")
def read_csv(files):
    """Yield the records of files as Arrow's batches, all columns as text."""
    for file in files:
        with file.open("rb") as stream:
            yield from csv.open_csv(
                stream,
                read_options=csv.ReadOptions(column_names=COLUMNS, block_size=BLOCK_BYTES),
                convert_options=csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.string())),
            )


def load(bucket, **options):
    """Return the seconds that the pipeline takes for a bucket."""
    started = time.perf_counter()
    pipeline = dlt.pipeline("bench", destination="postgres", dataset_name="dlt")
    files = filesystem(f"s3://{bucket}", file_glob="hired_employees*.csv")
    done = pipeline.run(files | read_csv, **options)
    seconds = time.perf_counter() - started
    done.raise_on_failed_jobs()
    return seconds


def main():
    """Load the buckets that the command line names after the word default or tuned."""
    manner, *buckets = sys.argv[1:]
    options = {}
    if manner == "tuned":
        options["loader_file_format"] = "csv"
        dlt.config["data_writer.file_max_items"] = RECORDS_PER_FILE
        # The disk is local: packing costs more than it saves.
        dlt.config["data_writer.disable_compression"] = True
    for bucket in buckets:
        print(load(bucket, **options))  # noqa: T201


if __name__ == "__main__":
    main()
