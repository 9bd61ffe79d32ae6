"""Listing a bucket and reading one version of an object, on a real S3 server."""

import gzip
import os
import time
import tracemalloc
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from orchestration.ingest.objects import (
    BLOCK_BYTES,
    BucketUnavailable,
    ObjectChanged,
    ObjectDamaged,
    ObjectVersion,
    list_objects,
    read,
)
from tests.conftest import Bucket, free_port

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TEXT = b"".join(b"%d,job %d\n" % (number, number % 7) for number in range(5000))


def only_object(bucket: Bucket) -> ObjectVersion:
    (item,) = list_objects(bucket.client, bucket.name)
    return item


def client_of(endpoint: str, access_key: str = "wrong", secret_key: str = "wrong") -> "S3Client":  # noqa: S107
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=2),
    )


def test_every_object_is_listed_with_what_tells_its_version(bucket: Bucket) -> None:
    bucket.put("jobs/b.csv", b"1,a\n", age_seconds=3600)
    bucket.put("a b+c%é.csv", b"")
    first, second = list_objects(bucket.client, bucket.name)
    assert (first.key, first.size) == ("a b+c%é.csv", 0)
    assert (second.key, second.size) == ("jobs/b.csv", 4)
    assert second.version == second.etag != first.etag
    assert abs(second.last_modified.timestamp() - (time.time() - 3600)) < 10
    assert str(second) == f"s3://{bucket.name}/jobs/b.csv"


def test_an_overwritten_object_is_another_version(bucket: Bucket) -> None:
    bucket.put("jobs.csv", b"1,a\n")
    before = only_object(bucket)
    bucket.put("jobs.csv", b"1,b\n")
    assert only_object(bucket).version != before.version


def test_an_empty_bucket_has_no_objects(bucket: Bucket) -> None:
    assert list(list_objects(bucket.client, bucket.name)) == []


def test_a_listing_goes_on_after_its_first_page(bucket: Bucket) -> None:
    """S3 answers with a thousand objects at a time; whoever asks once never sees the others."""
    keys = [f"jobs/{number:04}.csv" for number in range(1500)]
    (bucket.folder / "jobs").mkdir()
    for key in keys:
        (bucket.folder / key).write_bytes(b"1,a\n")
    assert [item.key for item in list_objects(bucket.client, bucket.name)] == keys


def test_an_object_that_changed_just_now_is_left_out_until_it_has_settled(bucket: Bucket) -> None:
    bucket.put("fresh.csv", b"1,a\n", age_seconds=0)
    bucket.put("settled.csv", b"1,a\n", age_seconds=60)
    assert [item.key for item in list_objects(bucket.client, bucket.name, settle_seconds=30)] == ["settled.csv"]
    assert [item.key for item in list_objects(bucket.client, bucket.name)] == ["fresh.csv", "settled.csv"]


def test_a_bucket_that_does_not_exist_is_named(bucket: Bucket) -> None:
    with pytest.raises(BucketUnavailable) as caught:
        list(list_objects(bucket.client, "no-such-bucket"))
    assert str(caught.value) == "bucket 'no-such-bucket' does not exist: create it, or name another in S3_BUCKET"


def test_wrong_credentials_are_told_in_one_line(bucket: Bucket) -> None:
    access_key = bucket.client._request_signer._credentials.access_key
    for client in client_of(bucket.endpoint), client_of(bucket.endpoint, access_key):
        with pytest.raises(BucketUnavailable) as caught:
            list(list_objects(client, bucket.name))
        assert str(caught.value).startswith(f"bucket '{bucket.name}': access denied, check the AWS credentials")
        assert "\n" not in str(caught.value)


def test_a_server_that_does_not_answer_is_told_in_one_line(bucket: Bucket) -> None:
    bucket.put("jobs.csv", TEXT)
    item = only_object(bucket)
    nobody = client_of(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(BucketUnavailable, match=rf"bucket '{bucket.name}': Could not connect"):
        list(list_objects(nobody, bucket.name))
    with pytest.raises(BucketUnavailable, match=rf"s3://{bucket.name}/jobs.csv: Could not connect"):
        list(read(nobody, item))


@pytest.mark.parametrize("key", ["jobs.csv", "jobs.csv.gz", "jobs.CSV.GZ"])
@pytest.mark.parametrize("byte_from", [0, 1, 12345, len(TEXT) - 1, len(TEXT)])
def test_an_object_is_read_from_any_byte_of_its_text(bucket: Bucket, key: str, byte_from: int) -> None:
    bucket.put(key, gzip.compress(TEXT) if key.lower().endswith(".gz") else TEXT)
    assert b"".join(read(bucket.client, only_object(bucket), byte_from)) == TEXT[byte_from:]


def test_a_large_object_comes_in_blocks(bucket: Bucket) -> None:
    text = os.urandom(3 * BLOCK_BYTES + 17)
    bucket.put("jobs.csv", text)
    blocks = list(read(bucket.client, only_object(bucket)))
    assert b"".join(blocks) == text
    assert len(blocks) >= 4
    assert max(map(len, blocks)) <= BLOCK_BYTES


@pytest.mark.parametrize("key", ["jobs.csv", "jobs.csv.gz"])
def test_an_empty_text_has_no_blocks(bucket: Bucket, key: str) -> None:
    bucket.put(key, gzip.compress(b"") if key.endswith(".gz") else b"")
    assert b"".join(read(bucket.client, only_object(bucket))) == b""


@pytest.mark.parametrize("padding", [0, 1, 2, 511, BLOCK_BYTES + 1])
@pytest.mark.parametrize("member_bytes", [len(TEXT), 10_000])
def test_a_gzip_file_may_have_many_members_and_zeros_after_them(
    bucket: Bucket, member_bytes: int, padding: int
) -> None:
    """Reading the first member alone loses the rest of a file that was appended to, without a word."""
    members = [gzip.compress(TEXT[at : at + member_bytes]) for at in range(0, len(TEXT), member_bytes)]
    bucket.put("jobs.csv.gz", b"".join(member + b"\0" * (padding % 512) for member in members) + b"\0" * padding)
    item = only_object(bucket)
    assert b"".join(read(bucket.client, item)) == TEXT
    assert b"".join(read(bucket.client, item, 30_000)) == TEXT[30_000:]


def test_gzip_members_may_end_anywhere_in_a_block(bucket: Bucket) -> None:
    noise = os.urandom(3 * BLOCK_BYTES)
    pieces = [noise[: BLOCK_BYTES - 23], noise[BLOCK_BYTES - 23 : BLOCK_BYTES + 5], noise[BLOCK_BYTES + 5 :]]
    bucket.put("jobs.csv.gz", b"".join(gzip.compress(piece, 0) for piece in pieces))
    assert b"".join(read(bucket.client, only_object(bucket))) == noise


def flipped(packed: bytes, at: int) -> bytes:
    return packed[:at] + bytes([packed[at] ^ 0xFF]) + packed[at + 1 :]


@pytest.mark.parametrize(
    ("packed", "complaint"),
    [
        pytest.param(gzip.compress(TEXT)[:-1], "cut off", id="the last byte is missing"),
        pytest.param(gzip.compress(TEXT)[:-8], "cut off", id="checksum and length are missing"),
        pytest.param(gzip.compress(TEXT)[:100], "cut off", id="most is missing"),
        pytest.param(gzip.compress(TEXT) + gzip.compress(TEXT)[:5], "cut off", id="the second member is cut off"),
        pytest.param(b"", "cut off", id="nothing"),
        pytest.param(flipped(gzip.compress(TEXT), -5), "not valid gzip", id="the checksum is wrong"),
        pytest.param(flipped(gzip.compress(TEXT), -1), "not valid gzip", id="the length is wrong"),
        pytest.param(flipped(gzip.compress(TEXT), 200), "not valid gzip", id="a byte is wrong"),
        pytest.param(TEXT, "not valid gzip", id="plain text"),
        pytest.param(b"\0" * 100, "not valid gzip", id="zeros"),
        pytest.param(gzip.compress(TEXT) + b"garbage", "not valid gzip", id="garbage after the member"),
    ],
)
def test_a_damaged_gzip_file_is_told_apart(bucket: Bucket, packed: bytes, complaint: str) -> None:
    """A cut-off file whose end nobody misses would be taken for a whole one."""
    bucket.put("jobs.csv.gz", packed)
    with pytest.raises(ObjectDamaged, match=complaint) as caught:
        list(read(bucket.client, only_object(bucket)))
    assert str(caught.value).startswith(f"s3://{bucket.name}/jobs.csv.gz is ")


def test_a_small_gzip_file_of_a_large_text_is_never_in_memory_whole(bucket: Bucket) -> None:
    size = 50 << 20
    bucket.put("jobs.csv.gz", gzip.compress(b"\0" * size, 6))
    item = only_object(bucket)
    assert item.size < 100_000
    longest = total = 0
    tracemalloc.start()
    for block in read(bucket.client, item):
        longest, total = max(longest, len(block)), total + len(block)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (total, longest) == (size, BLOCK_BYTES)
    assert peak < 8 * BLOCK_BYTES


@pytest.mark.parametrize("key", ["jobs.csv", "jobs.csv.gz"])
@pytest.mark.parametrize("byte_from", [0, 6])
def test_an_object_that_was_overwritten_after_it_was_listed_is_not_read(
    bucket: Bucket, key: str, byte_from: int
) -> None:
    """Rows of two versions in one load, or records skipped where the second half does not fit the first."""
    pack = gzip.compress if key.endswith(".gz") else bytes
    bucket.put(key, pack(b"1,before\n"))
    item = only_object(bucket)
    bucket.put(key, pack(b"1,afterwards\n"))
    with pytest.raises(ObjectChanged, match="overwritten"):
        list(read(bucket.client, item, byte_from))


def test_an_object_that_shrank_below_the_byte_to_read_from_has_changed(bucket: Bucket) -> None:
    bucket.put("jobs.csv", TEXT)
    item = only_object(bucket)
    bucket.put("jobs.csv", b"1,a\n")
    with pytest.raises(ObjectChanged):
        list(read(bucket.client, item, 1000))


def test_an_object_that_was_deleted_after_it_was_listed_has_changed(bucket: Bucket) -> None:
    path = bucket.put("jobs.csv", TEXT)
    item = only_object(bucket)
    path.unlink()
    with pytest.raises(ObjectChanged, match="deleted"):
        list(read(bucket.client, item))


def test_an_object_that_was_only_touched_is_the_same_version(bucket: Bucket) -> None:
    path = bucket.put("jobs.csv", TEXT)
    item = only_object(bucket)
    os.utime(path)
    assert b"".join(read(bucket.client, item)) == TEXT


def test_in_a_bucket_with_versions_the_latest_are_listed_and_read_by_their_id() -> None:
    """The S3 server of these tests keeps no versions, so that AWS' answers are played back."""
    then = datetime(2021, 1, 1, tzinfo=UTC)
    listed = [
        {"Key": "a.csv", "VersionId": "v2", "IsLatest": True, "ETag": '"e2"', "Size": 2, "LastModified": then},
        {"Key": "a.csv", "VersionId": "v1", "IsLatest": False, "ETag": '"e1"', "Size": 1, "LastModified": then},
        {"Key": "b.csv", "VersionId": "v1", "IsLatest": False, "ETag": '"e1"', "Size": 1, "LastModified": then},
        {"Key": "c.csv", "VersionId": "null", "IsLatest": True, "ETag": '"e3"', "Size": 3, "LastModified": then},
    ]
    deleted = [{"Key": "b.csv", "VersionId": "v2", "IsLatest": True, "LastModified": then}]
    client = client_of("http://127.0.0.1:1")
    with Stubber(client) as answers:
        answers.add_response("get_bucket_versioning", {"Status": "Enabled"}, {"Bucket": "landing"})
        answers.add_response(
            "list_object_versions", {"Versions": listed, "DeleteMarkers": deleted}, {"Bucket": "landing"}
        )
        found = list(list_objects(client, "landing"))
        assert [(item.key, item.version, item.etag) for item in found] == [("a.csv", "v2", "e2"), ("c.csv", "e3", "e3")]
        asked = [{"VersionId": "v2", "Range": "bytes=1-"}, {"IfMatch": '"e3"', "Range": "bytes=1-"}]
        for item, how in zip(found, asked, strict=True):
            answers.add_client_error("get_object", "NoSuchVersion", expected_params={
                "Bucket": "landing", "Key": item.key, **how
            })  # fmt: skip
            with pytest.raises(ObjectChanged):
                list(read(client, item, 1))
