"""The bytes of exactly one version of an object or file: plain or compressed, from any offset."""

import gzip
import io
import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.ingest.objects import (
    ObjectChanged,
    ObjectDamaged,
    ObjectVersion,
    file_version,
    list_objects,
)
from orchestration.ingest.reading import BLOCK_BYTES, read
from tests.conftest import Bucket

TEXT = b"".join(b"%d,job %d\n" % (number, number % 7) for number in range(5000))


def only_object(bucket: Bucket) -> ObjectVersion:
    (item,) = list_objects(bucket.client, bucket.name)
    return item


def blocks_of(bucket: Bucket, byte_from: int = 0) -> list[bytes]:
    return list(read(bucket.client, only_object(bucket), byte_from))


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
    """Reading only the first member would silently lose the rest of a file that was appended to."""
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
        pytest.param(TEXT, "not valid gzip but something else: name it without .gz", id="plain text"),
        pytest.param(b"\0" * 100, "not valid gzip", id="zeros"),
        pytest.param(gzip.compress(gzip.compress(TEXT)), "gzip in gzip: compress it once", id="gzip of gzip"),
        pytest.param(gzip.compress(TEXT) + b"garbage", "not valid gzip", id="garbage after the member"),
    ],
)
def test_a_damaged_gzip_file_is_recognized(bucket: Bucket, packed: bytes, complaint: str) -> None:
    """A truncated file would pass for a complete one."""
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


def test_an_object_that_was_touched_is_listed_and_read_as_another_version(bucket: Bucket) -> None:
    """Without an ETag nothing else shows that its bytes are the same."""
    path = bucket.put("jobs.csv", TEXT)
    before = only_object(bucket)
    os.utime(path)
    with pytest.raises(ObjectChanged, match="overwritten"):
        list(read(bucket.client, before))
    assert b"".join(read(bucket.client, only_object(bucket))) == TEXT


class SlowUpload(io.BytesIO):
    """A body that takes more than a second once it is being sent, after it was read for its checksums."""

    is_sent = False

    def read(self, size: int | None = -1, /) -> bytes:
        time.sleep(1.1 if self.is_sent else 0)
        return super().read(size)

    def send(self, **_: object) -> None:
        self.is_sent = True


def test_an_upload_that_takes_seconds_is_read(bucket: Bucket) -> None:
    """Its GET has the date of the upload's beginning, its listing the date of the end."""
    upload = SlowUpload(TEXT)
    bucket.client.meta.events.register("before-send.s3.PutObject", upload.send)
    bucket.client.put_object(Bucket=bucket.name, Key="jobs.csv", Body=upload)
    dates = [bucket.client.get_object(Bucket=bucket.name, Key="jobs.csv")["LastModified"]]
    dates.append(only_object(bucket).last_modified.replace(microsecond=0))
    assert dates[0] < dates[1], "nothing is tested with a server that gives one date"
    assert b"".join(blocks_of(bucket)) == TEXT


def test_a_gzip_file_damaged_late_is_reported_with_the_damaged_block(bucket: Bucket) -> None:
    packed = gzip.compress(os.urandom(4 * BLOCK_BYTES), 0)
    bucket.put("jobs.csv.gz", flipped(packed, -5))
    with pytest.raises(ObjectDamaged, match=r"near byte \d+: ") as caught:
        blocks_of(bucket)
    told = int(str(caught.value).split("near byte ")[1].split(":")[0])
    assert len(packed) - BLOCK_BYTES <= told <= len(packed)


def test_a_truncated_gzip_file_is_reported_with_its_length(bucket: Bucket) -> None:
    packed = gzip.compress(TEXT)[:1234]
    bucket.put("jobs.csv.gz", packed)
    with pytest.raises(ObjectDamaged, match=r"is cut off: its gzip stream does not end by byte 1234$"):
        blocks_of(bucket)


@pytest.mark.parametrize("key", ["jobs.csv", "jobs.csv.gz"])
def test_an_object_overwritten_during_a_read_is_detected_before_the_end(bucket: Bucket, key: str) -> None:
    """A complete text of two halves, if the server returns whatever it has."""
    before, after = (os.urandom(1 << 20) * 32 for _ in range(2))
    pack: Callable[[bytes], bytes] = (lambda text: gzip.compress(text, 0)) if key.endswith(".gz") else bytes
    bucket.put(key, pack(before))
    blocks = read(bucket.client, only_object(bucket))
    assert before.startswith(next(blocks))
    bucket.put(key, pack(after))
    with pytest.raises((ObjectChanged, ObjectDamaged)):
        list(blocks)


def test_an_object_deleted_during_a_read_is_detected_before_the_end(bucket: Bucket) -> None:
    path = bucket.put("jobs.csv", b"x" * (4 * BLOCK_BYTES))
    blocks = read(bucket.client, only_object(bucket))
    next(blocks)
    path.unlink()
    with pytest.raises(ObjectChanged, match="deleted"):
        list(blocks)


class TestAFileOfThisMachine:
    @pytest.mark.parametrize("name", ["jobs.csv", "jobs.csv.gz"])
    @pytest.mark.parametrize("byte_from", [0, 1, 12345, len(TEXT)])
    def test_is_read_from_any_byte_of_its_text(self, tmp_path: Path, name: str, byte_from: int) -> None:
        path = tmp_path / name
        path.write_bytes(gzip.compress(TEXT) if name.endswith(".gz") else TEXT)
        assert b"".join(read(None, file_version(path), byte_from)) == TEXT[byte_from:]

    def test_comes_in_blocks(self, tmp_path: Path) -> None:
        path = tmp_path / "jobs.csv"
        path.write_bytes(os.urandom(2 * BLOCK_BYTES + 17))
        assert list(map(len, read(None, file_version(path)))) == [BLOCK_BYTES, BLOCK_BYTES, 17]

    @pytest.mark.parametrize("change", ["appended to", "cut off", "overwritten", "replaced"])
    def test_that_changes_while_it_is_read_is_detected_before_the_end(self, tmp_path: Path, change: str) -> None:
        """A file that is still being written would be loaded as far as it had come, and never again."""
        path = tmp_path / "jobs.csv"
        path.write_bytes(b"x" * 3 * BLOCK_BYTES)
        os.utime(path, (1_600_000_000, 1_600_000_000))
        blocks = read(None, file_version(path))
        next(blocks)
        match change:
            case "appended to":
                with path.open("ab") as file:
                    file.write(b"more\n")
            case "cut off":
                os.truncate(path, BLOCK_BYTES)
            case "overwritten":
                with path.open("r+b") as file:
                    file.write(b"y")
            case "replaced":
                path.with_suffix(".new").write_bytes(b"y" * 3 * BLOCK_BYTES)
                path.with_suffix(".new").rename(path)
        with pytest.raises(ObjectChanged, match=rf"^{path} was overwritten while it was being read$"):
            list(blocks)

    def test_that_changed_before_it_is_read_is_detected(self, tmp_path: Path) -> None:
        path = tmp_path / "jobs.csv"
        path.write_bytes(TEXT)
        item = file_version(path)
        path.write_bytes(TEXT + b"more\n")
        with pytest.raises(ObjectChanged, match="was overwritten"):
            list(read(None, item))

    def test_that_is_gone_is_reported(self, tmp_path: Path) -> None:
        path = tmp_path / "jobs.csv"
        path.write_bytes(TEXT)
        item = file_version(path)
        path.unlink()
        with pytest.raises(ObjectChanged, match=rf"^{path}: No such file or directory$"):
            list(read(None, item))

    def test_that_is_damaged_gzip_is_reported_with_its_path(self, tmp_path: Path) -> None:
        path = tmp_path / "jobs.csv.gz"
        path.write_bytes(gzip.compress(TEXT)[:-1])
        with pytest.raises(ObjectDamaged, match=rf"^{path} is cut off"):
            list(read(None, file_version(path)))
