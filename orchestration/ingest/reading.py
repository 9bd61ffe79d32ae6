"""Reads the bytes of one version of an object: resumes after a broken connection, and decompresses gzip."""

import logging
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.ingest.objects import (
    BucketRefused,
    BucketUnavailable,
    ObjectChanged,
    ObjectDamaged,
    ObjectUnreadable,
    ObjectVersion,
    file_version,
    is_answer_about,
    is_current,
    is_transient,
    translate_s3_errors,
)
from orchestration.ingest.retry import retry_transient

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectRequestTypeDef

BLOCK_BYTES = 512 << 10
# How much is lost at most when a connection breaks: the client discards the piece that it was reading.
PIECE_BYTES = 16 << 10
GZIP_FRAME = zlib.MAX_WBITS | 16
GZIP_SIGNATURE = b"\x1f\x8b"

log = logging.getLogger(__name__)


def read(
    client: "S3Client | None", item: ObjectVersion, byte_from: int = 0, give_up_seconds: float = 0
) -> Iterator[bytes]:
    """Yield the text of an object version in blocks of about BLOCK_BYTES, decompressed if its key ends in .gz.

    An interrupted read continues after the last byte. Bytes of another version are yielded only if the server replaces
    an object while it is being read, and then ObjectChanged is raised before the end.

    Args:
        client: a boto3 S3 client; None for a file.
        item: the version to read.
        byte_from: the offset of the first byte to yield, in the decompressed text.
        give_up_seconds: how long to retry while the server delivers no bytes.

    Raises:
        BucketUnavailable: the server refuses the request, or is unavailable for longer than that.
        ObjectChanged: this version no longer exists.
        ObjectUnreadable: reading it is forbidden, it is archived, or its gzip stream is damaged.
    """
    if item.key.lower().endswith(".gz"):
        packed = _stored_pieces(client, item, 0, give_up_seconds)
        packed = _refuse(packed, _is_not_gzip, f"{item} is not valid gzip but something else: name it without .gz")
        text = _refuse(_unpacked(item, packed), _is_gzip, f"{item} is gzip in gzip: compress it once")
        yield from skip(text, byte_from)
    else:
        yield from _blocks(_stored_pieces(client, item, byte_from, give_up_seconds))


def _stored_pieces(
    client: "S3Client | None", item: ObjectVersion, byte_from: int, give_up_seconds: float
) -> Iterator[bytes]:
    if client is None or item.is_file:
        yield from _file_pieces(item, byte_from)
        is_current_now = file_version(Path(item.key)).etag == item.etag
    else:
        yield from _object_pieces(client, item, byte_from, give_up_seconds)
        if item.has_id:
            return  # a version with an id cannot be overwritten
        is_current_now = retry_transient(give_up_seconds, is_transient)(is_current, client, item)
    # Some servers replace an object while it is being read.
    if not is_current_now:
        raise ObjectChanged(f"{item} was overwritten while it was being read")


def _file_pieces(item: ObjectVersion, byte_from: int) -> Iterator[bytes]:
    try:
        with Path(item.key).open("rb") as file:
            file.seek(byte_from)
            while piece := file.read(PIECE_BYTES):
                yield piece
    except OSError as error:
        raise ObjectChanged(f"{item}: {error.strerror}") from None


def _object_pieces(client: "S3Client", item: ObjectVersion, byte_from: int, give_up_seconds: float) -> Iterator[bytes]:
    position = byte_from
    while position < item.size:
        # The first piece shows that the server is available; later failures get the full time again.
        try:
            piece, rest = retry_transient(give_up_seconds, is_transient)(_first_piece, client, item, position)
        except ObjectUnreadable as error:
            if position == byte_from:
                raise
            # It was readable a moment ago: the problem is not the object, and the load can be resumed.
            raise BucketRefused(str(error)) from None
        yield piece
        position += len(piece)
        try:
            for piece in rest:
                yield piece
                position += len(piece)
        except BucketUnavailable as error:
            if not is_transient(error):
                raise
            log.warning("resuming the read at byte %d after: %s", position, error)


def _first_piece(client: "S3Client", item: ObjectVersion, byte_from: int) -> tuple[bytes, Iterator[bytes]]:
    """Request an object from a byte on, and return its first piece and an iterator of the rest."""
    pieces = _requested_pieces(client, item, byte_from)
    piece = next(pieces, None)
    if piece is None:
        raise BucketUnavailable(f"{item} ends at byte {byte_from} instead of {item.size}")
    return piece, pieces


def _blocks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Join pieces into blocks, which are cheaper to process."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= BLOCK_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def _requested_pieces(client: "S3Client", item: ObjectVersion, byte_from: int) -> Iterator[bytes]:
    request: GetObjectRequestTypeDef = {"Bucket": item.bucket, "Key": item.key}
    if item.has_id:
        request["VersionId"] = item.version
    elif not item.is_weak:
        request["IfMatch"] = f'"{item.etag}"'
    if byte_from:
        request["Range"] = f"bytes={byte_from}-"
    with translate_s3_errors(str(item), is_object=True):
        response = client.get_object(**request)
        # Some servers ignore If-Match, or Range.
        if not is_answer_about(item, response):
            raise ObjectChanged(f"{item} was overwritten while it was being read")
        pieces = response["Body"].iter_chunks(PIECE_BYTES)
        yield from pieces if "ContentRange" in response else skip(pieces, byte_from)


def _refuse(pieces: Iterator[bytes], is_wrong: Callable[[bytes], bool], complaint: str) -> Iterator[bytes]:
    """Yield the pieces, or raise ObjectDamaged if the first one is wrong."""
    first = next(pieces, b"")
    if first and is_wrong(first):
        raise ObjectDamaged(complaint)
    yield first
    yield from pieces


def _is_gzip(piece: bytes) -> bool:
    return piece.startswith(GZIP_SIGNATURE)


def _is_not_gzip(piece: bytes) -> bool:
    return not GZIP_SIGNATURE.startswith(piece[:2])


def _unpacked(item: ObjectVersion, packed: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the text of a gzip file of one or several members, at most BLOCK_BYTES at a time."""
    position = 0
    member = zlib.decompressobj(GZIP_FRAME)
    for piece in packed:
        rest = piece
        while rest:
            if member.eof:
                # Zeros after a member are padding, as written by tape drives and some tools.
                if not (next_member := rest.lstrip(b"\0")):
                    position += len(rest)
                    break
                position += len(rest) - len(next_member)
                member, rest = zlib.decompressobj(GZIP_FRAME), next_member
            try:
                text = member.decompress(rest, BLOCK_BYTES)
            except zlib.error as error:
                raise ObjectDamaged(f"{item} is not valid gzip near byte {position}: {error}") from None
            left = member.unused_data if member.eof else member.unconsumed_tail
            position += len(rest) - len(left)
            rest = left
            if text:
                yield text
    while not member.eof and (text := member.decompress(member.unconsumed_tail, BLOCK_BYTES)):
        yield text
    if not member.eof:
        raise ObjectDamaged(f"{item} is cut off: its gzip stream does not end by byte {position}")


def skip(blocks: Iterator[bytes], count: int) -> Iterator[bytes]:
    """Yield blocks without their first `count` bytes."""
    for block in blocks:
        if count < len(block):
            yield block[count:] if count else block
        count = max(0, count - len(block))
