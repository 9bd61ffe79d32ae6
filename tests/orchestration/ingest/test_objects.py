"""Listing a bucket on a real S3 server, versions of objects and files, and messages of errors."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import FlexibleChecksumError
from botocore.stub import Stubber

from orchestration.ingest.objects import (
    BucketRefused,
    BucketUnavailable,
    ListingCursor,
    ObjectChanged,
    ObjectDamaged,
    ObjectUnreadable,
    ObjectVersion,
    current_version,
    file_version,
    is_transient,
    list_objects,
    list_pages,
    translate_s3_errors,
)
from orchestration.ingest.reading import read
from tests.conftest import Bucket, free_port

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


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


def test_every_object_is_listed_with_its_version(bucket: Bucket) -> None:
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


def test_a_listing_continues_after_its_first_page(bucket: Bucket) -> None:
    """S3 returns a thousand objects per page; a single request never returns the others."""
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
    with pytest.raises(BucketRefused) as caught:
        list(list_objects(bucket.client, "no-such-bucket"))
    assert not is_transient(caught.value)
    assert str(caught.value) == "bucket 'no-such-bucket' does not exist: create it, or name another in S3_BUCKET"


def test_wrong_credentials_are_reported_in_one_line(bucket: Bucket) -> None:
    access_key = bucket.client._request_signer._credentials.access_key  # type: ignore[attr-defined]
    for client in client_of(bucket.endpoint), client_of(bucket.endpoint, access_key):
        with pytest.raises(BucketRefused) as caught:
            list(list_objects(client, bucket.name))
        assert not is_transient(caught.value)
        assert str(caught.value).startswith(f"bucket '{bucket.name}': access denied, check the AWS credentials")
        assert "\n" not in str(caught.value)


def test_a_server_that_does_not_respond_is_reported_in_one_line(bucket: Bucket) -> None:
    bucket.put("jobs.csv", b"1,a\n")
    item = only_object(bucket)
    nobody = client_of(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(BucketUnavailable, match=rf"bucket '{bucket.name}': Could not connect") as caught:
        list(list_objects(nobody, bucket.name))
    assert is_transient(caught.value)
    with pytest.raises(BucketUnavailable, match=rf"s3://{bucket.name}/jobs.csv: Could not connect"):
        list(read(nobody, item))
    with pytest.raises(BucketUnavailable, match=rf"s3://{bucket.name}/jobs.csv: Could not connect"):
        current_version(nobody, bucket.name, "jobs.csv")


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


def test_a_listing_resumes_from_a_cursor_as_if_it_had_never_stopped(bucket: Bucket) -> None:
    ask_for(bucket, MaxKeys=2)
    keys = ["a.csv", "a/b.csv", "b c+é.csv", "c.csv", "d.csv"]
    for key in keys:
        bucket.put(key, b"1,a\n")
    found: list[str] = []
    after: ListingCursor | None = None
    for _ in range(3):
        page = next(list_pages(bucket.client, bucket.name, after))
        found += [item.key for item in page.objects]
        after = page.next
    assert sorted(found) == sorted(keys)
    assert after is None


def ask_for(bucket: Bucket, **more: int) -> None:
    """Let the client add parameters to each listing."""
    bucket.client.meta.events.register("provide-client-params.s3.ListObjectsV2", lambda params, **_: params | more)


def test_in_a_bucket_with_versions_a_listing_continues_after_the_last_listed_version() -> None:
    """More than a page of one object's versions must neither end the listing nor restart it for ever."""
    then = datetime(2021, 1, 1, tzinfo=UTC)
    latest = {"VersionId": "v9", "IsLatest": True, "ETag": '"e"', "Size": 2, "LastModified": then}
    earlier = latest | {"VersionId": "v8", "IsLatest": False}
    client = client_of("http://127.0.0.1:1")
    with Stubber(client) as answers:
        answers.add_response("get_bucket_versioning", {"Status": "Enabled"})
        for asked, version, marker in [
            ({}, latest, ("a.csv", "v9")),
            ({"KeyMarker": "a.csv", "VersionIdMarker": "v9"}, earlier, ("a.csv", "v8")),
            ({"KeyMarker": "a.csv", "VersionIdMarker": "v8"}, latest | {"Key": "b.csv"}, None),
        ]:
            more = {"NextKeyMarker": marker[0], "NextVersionIdMarker": marker[1]} if marker else {}
            answer = {"Versions": [{"Key": "a.csv"} | version], "IsTruncated": marker is not None} | more
            answers.add_response("list_object_versions", answer, {"Bucket": "landing"} | asked)
        pages = list(list_pages(client, "landing"))
    assert [[item.key for item in page.objects] for page in pages] == [["a.csv"], [], ["b.csv"]]
    assert pages[1].next == ListingCursor("a.csv", "v8")


def test_a_place_from_before_versioning_was_switched_on_names_no_version() -> None:
    client = client_of("http://127.0.0.1:1")
    with Stubber(client) as answers:
        answers.add_response("get_bucket_versioning", {"Status": "Enabled"})
        answers.add_response("list_object_versions", {}, {"Bucket": "landing", "KeyMarker": "a.csv"})
        assert [page.objects for page in list_pages(client, "landing", ListingCursor("a.csv"))] == [[]]


def test_the_version_that_an_object_has_now_is_the_one_that_is_listed(bucket: Bucket) -> None:
    bucket.put("jobs é+1.csv", b"1,a\n")
    bucket.put("jobs é+1.csv.d/another.csv", b"1,b\n")
    listed = next(list_objects(bucket.client, bucket.name))
    assert current_version(bucket.client, bucket.name, "jobs é+1.csv") == listed


def test_an_object_that_is_not_there_has_no_version(bucket: Bucket) -> None:
    with pytest.raises(ObjectChanged, match=rf"s3://{bucket.name}/jobs.csv was overwritten or deleted"):
        current_version(bucket.client, bucket.name, "jobs.csv")


def test_in_a_bucket_with_versions_an_object_has_the_id_of_its_latest() -> None:
    """The S3 server of these tests keeps no versions, so that AWS' answers are played back."""
    answer = {"ETag": '"e"', "ContentLength": 2, "LastModified": datetime(2021, 1, 1, tzinfo=UTC)}
    client = client_of("http://127.0.0.1:1")
    for version, expected in [("v2", "v2"), ("null", "e")]:
        with Stubber(client) as answers:
            answers.add_response("head_object", answer | {"VersionId": version})
            assert current_version(client, "landing", "a.csv").version == expected


def test_bytes_that_arrive_with_another_checksum_are_damage_and_no_outage() -> None:
    with (
        pytest.raises(ObjectDamaged, match=r"s3://landing/a\.csv arrived with other bytes"),
        translate_s3_errors("s3://landing/a.csv"),
    ):
        raise FlexibleChecksumError(error_msg="Expected checksum A did not match calculated checksum B")


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="what a process has read is in Linux's /proc")
def test_a_listing_reads_no_file_however_large(bucket: Bucket) -> None:
    """Each listing read each file for its ETag, even one of three gigabytes that belongs to no table."""
    with (bucket.folder / "old_backup.tar").open("wb") as file:
        file.truncate(300 << 20)
    bucket.put("jobs.csv", b"1,a\n")
    port = urlsplit(bucket.endpoint).port
    (server,) = (
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.laddr.port == port and connection.status == psutil.CONN_LISTEN
    )
    before = psutil.Process(server).io_counters().read_chars
    for _ in range(3):
        assert len(list(list_objects(bucket.client, bucket.name))) == 2
    current_version(bucket.client, bucket.name, "old_backup.tar")
    assert psutil.Process(server).io_counters().read_chars - before < 1 << 20


def test_versions_are_etags_if_the_server_has_them_and_otherwise_dates_and_sizes(bucket: Bucket) -> None:
    """The S3 server of these tests gives no ETags, so that the answer of one that does is played back."""
    path = bucket.put("jobs.csv", b"1,a\n", age_seconds=60)
    before = only_object(bucket)
    assert before.is_weak
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000))
    assert only_object(bucket).version != before.version
    then = datetime(2021, 1, 1, tzinfo=UTC)
    client = client_of("http://127.0.0.1:1")
    with Stubber(client) as answers:
        answers.add_response(
            "head_object", {"ETag": '"e"', "ContentLength": 4, "LastModified": then}, {"Bucket": "b", "Key": "k"}
        )
        item = current_version(client, "b", "k")
    assert (item.version, item.etag, item.is_weak, item.has_id) == ("e", "e", False, False)


@pytest.mark.parametrize("code", ["403", "AccessDenied"])
def test_denied_access_to_one_object_is_not_blamed_on_the_credentials(code: str) -> None:
    client = client_of("http://127.0.0.1:1")
    with Stubber(client) as answers:
        answers.add_client_error("head_object", code, http_status_code=403)
        with pytest.raises(ObjectUnreadable, match=r"^s3://b/k may be listed, but not read: it takes s3:GetObject"):
            current_version(client, "b", "k")
        answers.add_client_error("get_bucket_versioning", code, http_status_code=403)
        with pytest.raises(BucketRefused, match=r"^bucket 'b': access denied, check the AWS credentials"):
            list(list_objects(client, "b"))


class TestAFileOfThisMachine:
    def test_is_named_by_its_whole_path_however_it_was_reached(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The same file under two names would be loaded twice."""
        path = tmp_path / "jobs.csv"
        path.write_bytes(b"1,a\n")
        (tmp_path / "link.csv").symlink_to(path)
        monkeypatch.chdir(tmp_path)
        found = file_version(path)
        assert found == file_version(Path("jobs.csv")) == file_version(tmp_path / "link.csv")
        assert (found.bucket, found.key, found.size) == ("file://", str(path.resolve()), 4)
        assert found.is_file
        assert str(found) == str(path.resolve())

    @pytest.mark.parametrize("text", [b"1,b\n", b"1,a\n2,b\n"])
    def test_is_another_version_once_it_was_written_again(self, tmp_path: Path, text: bytes) -> None:
        path = tmp_path / "jobs.csv"
        path.write_bytes(b"1,a\n")
        os.utime(path, ns=(0, 1_600_000_000_000_000_000))
        before = file_version(path)
        assert file_version(path) == before
        path.write_bytes(text)
        os.utime(path, ns=(0, 1_600_000_000_000_000_001))
        assert file_version(path).version != before.version

    def test_that_does_not_exist_is_reported_in_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(ObjectChanged) as caught:
            file_version(tmp_path / "none.csv")
        assert str(caught.value) == f"{tmp_path}/none.csv: No such file or directory"
