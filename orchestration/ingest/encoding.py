"""How the characters of an object are encoded: found by its first bytes, or declared by the contract.

Records are split in UTF-8 or in Windows-1252, in which delimiters, quotes and line ends are the same bytes. UTF-16 is
turned into UTF-8 while it is read, and offsets are counted back into its own bytes.
"""

import codecs
from collections.abc import Iterable, Iterator
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

BYTE_ORDER_MARK = codecs.BOM_UTF8
# How many bytes tell the encoding.
SAMPLE_BYTES = 1000
# By what a file begins with that is no CSV text; UTF-32 comes first, since its mark begins with that of UTF-16.
SIGNATURES = {
    codecs.BOM_UTF32_LE: "UTF-32: save it as UTF-8",
    codecs.BOM_UTF32_BE: "UTF-32: save it as UTF-8",
    b"\x1f\x8b": "compressed with gzip: its name has to end in .csv.gz",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook: unpack it, or name it .xlsx",
    b"PAR1": "a Parquet file: export it as CSV",
}


class UnreadableFile(RuntimeError):
    """The object is no text whose records belong to its table; the message follows the object's name."""


class Encoding(StrEnum):
    """The encodings that are read, by Python's names."""

    UTF_8 = "utf-8"
    UTF_16_LE = "utf-16-le"
    UTF_16_BE = "utf-16-be"
    WINDOWS_1252 = "windows-1252"

    @property
    def is_utf16(self) -> bool:
        """Whether texts are turned into UTF-8 before they are split."""
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
        declared: what it is in without a mark.

    Raises:
        UnreadableFile: it is in UTF-16 without a mark, or no text at all.
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
    """Yield the blocks of a text as records are split: those of UTF-16 turned into UTF-8.

    Half of a surrogate pair becomes bytes that no UTF-8 has, so that its record is rejected and no other.

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
    """Return how many bytes of the object stand before each byte of a text that was turned into UTF-8.

    Returns:
        One entry more than the text has bytes, the last one for its end; None where the two are the same bytes.
    """
    if not encoding.is_utf16:
        return None
    octets = np.frombuffer(text, np.uint8)
    # A character is one unit of two bytes, those of four bytes in UTF-8 are two; bytes that continue one count nothing.
    units = 2 * ((octets & 0xC0) != 0x80) + 2 * (octets >= 0xF0)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(units, dtype=np.int64)])
