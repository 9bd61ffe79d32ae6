"""The figure of a scan that finds nothing new: next to the bare listing of the same bucket by boto3."""

import multiprocessing
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import median
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import boto3
import psycopg

from benchmarks.figures import Figure
from benchmarks.load import LARGE_ROUNDS
from benchmarks.servers import REGION, Servers
from deploy.local.services import LOOPBACK
from orchestration.arrivals.bucket_scan import scan

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "listed"
KEYS_PER_PAGE = 1000
LAST_MODIFIED = "2021-07-27T16:02:08.000Z"
LOADED = f"""
insert into raw.loads (
    table_name, source, bucket, key, version, bytes, last_modified,
    status, records, loaded, rejected, malformed, invalid, completed_at
)
select
    'hired_employees', 'object', '{BUCKET}', 'hired_employees/' || lpad(i::text, 9, '0') || '.csv',
    lpad(to_hex(i), 32, '0'), 57000, '{LAST_MODIFIED}', 'complete', 1000, 1000, 0, 0, 0, now()
from generate_series(0, %s - 1) as i
"""  # noqa: S608
CONTENTS = (
    "<Contents><Key>hired_employees/{number:09}.csv</Key><ETag>&quot;{number:032x}&quot;</ETag>"
    f"<LastModified>{LAST_MODIFIED}</LastModified><Size>57000</Size><StorageClass>STANDARD</StorageClass></Contents>"
)


def idle_scan_vs_listing(servers: Servers, records: int) -> float:
    """Return the time of a scan of many loaded objects as a multiple of that of listing them."""
    objects = records // 5
    servers.execute("truncate raw.loads cascade", LOADED % objects, "vacuum analyze raw.loads")
    with (
        _listing_server(objects) as client,
        psycopg.connect(servers.conninfo("hiring_loader"), autocommit=True) as connection,
    ):

        def scanned() -> float:
            started = time.perf_counter()
            result = scan(connection, client, BUCKET, settle_seconds=1, until=time.monotonic() + 3600)
            assert (result.listed, result.found, result.next) == (objects, [], None)
            return time.perf_counter() - started

        def listed() -> float:
            started = time.perf_counter()
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
            assert sum(len(page["Contents"]) for page in pages) == objects
            return time.perf_counter() - started

        ratio = median(scanned() / listed() for _ in range(LARGE_ROUNDS))
    servers.execute("truncate raw.loads cascade")
    return ratio


FIGURES = (
    Figure(
        "listing_idle",
        idle_scan_vs_listing,
        "scan of 200,000 objects of which none is new / boto3's bare listing",
        bar="<= 1.5",
    ),
)


@contextmanager
def _listing_server(objects: int) -> Iterator["S3Client"]:
    """Serve a bucket of so many objects, and nothing but its pages: a file for each would measure the file system."""
    server = ThreadingHTTPServer((LOOPBACK, 0), _handler(objects))
    process = multiprocessing.get_context("fork").Process(target=server.serve_forever, daemon=True)
    process.start()
    server.server_close()
    try:
        yield boto3.client(
            "s3",
            endpoint_url=f"http://{LOOPBACK}:{server.server_port}",
            aws_access_key_id="any",
            aws_secret_access_key="any",  # noqa: S106
            region_name=REGION,
        )
    finally:
        process.terminate()
        process.join()


def _handler(objects: int) -> type[BaseHTTPRequestHandler]:
    pages = [_page(first, objects) for first in range(0, objects, KEYS_PER_PAGE)]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
            after = query.get("start-after") or query.get("continuation-token") or ["-1"]
            number = int("".join(re.findall(r"-1|\d{9}", after[0])))
            body = b"<VersioningConfiguration/>" if "versioning" in query else pages[(number + 1) // KEYS_PER_PAGE]
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _page(first: int, objects: int) -> bytes:
    end = min(first + KEYS_PER_PAGE, objects)
    next_page = f"<NextContinuationToken>{end - 1:09}</NextContinuationToken>" if end < objects else ""
    return (
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>{'true' if next_page else 'false'}</IsTruncated>{next_page}"
        f"{''.join(CONTENTS.format(number=number) for number in range(first, end))}</ListBucketResult>"
    ).encode()
