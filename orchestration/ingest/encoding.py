"""An object's character encoding: detected from its first bytes, or declared by the contract.

Records are split as UTF-8 or Windows-1252, in which delimiters, quotes and line ends are the same bytes. UTF-16 is
transcoded to UTF-8 while it is read, and offsets are converted back to those of the object.
"""

import codecs
from collections.abc import Iterable, Iterator
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

BYTE_ORDER_MARK = codecs.BOM_UTF8
# How many bytes are used to detect the encoding.
SAMPLE_BYTES = 1000
# Excel writes workbooks with a password, and those of its format before .xlsx, into this container.
OLE_SIGNATURE = b"\xd0\xcf\x11\xe0"
OLE_WORKBOOK = "an Excel workbook with a password, or of the old format: save it as .xlsx without a password, or as CSV"
# First bytes of files that are not CSV text; UTF-32 comes first, since its mark begins with that of UTF-16.
SIGNATURES = {
    codecs.BOM_UTF32_LE: "UTF-32: save it as UTF-8",
    codecs.BOM_UTF32_BE: "UTF-32: save it as UTF-8",
    b"\x1f\x8b": "compressed with gzip: its name has to end in .csv.gz",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook: unpack it, or name it .xlsx",
    b"PAR1": "a Parquet file: export it as CSV",
    OLE_SIGNATURE: OLE_WORKBOOK,
}


class UnreadableFile(RuntimeError):
    """The object is not text with records of its table; the message completes a sentence that starts with its name."""


class Encoding(StrEnum):
    """The supported encodings, by Python's names."""

    UTF_8 = "utf-8"
    UTF_16_LE = "utf-16-le"
    UTF_16_BE = "utf-16-be"
    WINDOWS_1252 = "windows-1252"

    @property
    def is_utf16(self) -> bool:
        """Whether text is transcoded to UTF-8 before it is split."""
        return self in {Encoding.UTF_16_LE, Encoding.UTF_16_BE}

    @property
    def of_records(self) -> "Encoding":
        """The encoding in which records are split and copied."""
        return Encoding.UTF_8 if self.is_utf16 else self


MARKS = {
    BYTE_ORDER_MARK: Encoding.UTF_8,
    codecs.BOM_UTF16_LE: Encoding.UTF_16_LE,
    codecs.BOM_UTF16_BE: Encoding.UTF_16_BE,
}


def find_encoding(head: bytes, declared: Encoding = Encoding.UTF_8) -> tuple[Encoding, int]:
    """Return the encoding of a text, and the length of its byte order mark.

    Args:
        head: its first SAMPLE_BYTES bytes.
        declared: its encoding if it has no mark.

    Raises:
        UnreadableFile: it is UTF-16 without a mark, or not text at all.
    """
    for signature, what in SIGNATURES.items():
        if head.startswith(signature):
            raise UnreadableFile(f"is {what}")
    for mark, encoding in MARKS.items():
        if head.startswith(mark):
            return encoding, len(mark)
    # Latin text in UTF-16 without a mark: every other byte is NUL.
    if len(head) > 3 and any(not any(head[half::2]) and all(head[1 - half :: 2]) for half in (0, 1)):
        raise UnreadableFile("seems to be UTF-16, not UTF-8: save it as UTF-8, or with a byte order mark")
    return declared, 0


def in_utf8(blocks: Iterable[bytes], encoding: Encoding) -> Iterator[bytes]:
    """Yield the blocks of a text in the encoding in which records are split: UTF-16 transcoded to UTF-8.

    Half of a surrogate pair becomes bytes that are invalid in UTF-8, so that only its record is rejected.

    Raises:
        UnreadableFile: a text in UTF-16 ends in the middle of a character.
    """
    if not encoding.is_utf16:
        yield from blocks
        return
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    for block in blocks:
        yield decoder.decode(block).encode(errors="surrogatepass")
    try:
        yield decoder.decode(b"", final=True).encode(errors="surrogatepass")
    except UnicodeDecodeError:
        raise UnreadableFile("is cut off: it is UTF-16 that ends in the middle of a character") from None


def bytes_before(text: bytes, encoding: Encoding) -> NDArray[np.int64] | None:
    """Return the offset in the object of each byte of a text that was transcoded to UTF-8.

    Returns:
        One more entry than the text has bytes, the last one for its end; None if nothing was transcoded.
    """
    if not encoding.is_utf16:
        return None
    octets = np.frombuffer(text, np.uint8)
    # A character is one UTF-16 unit of two bytes, or two if it has four bytes in UTF-8; continuation bytes count 0.
    units = 2 * ((octets & 0xC0) != 0x80) + 2 * (octets >= 0xF0)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(units, dtype=np.int64)])
