"""Maps object keys to tables, and recognizes objects to ignore."""

import re

from contracts import TABLES, Table

SUFFIXES = (".csv", ".csv.gz", ".xlsx")
# Files that Spark and Hadoop write into a folder named like a file: part-00000, part-m-00000.gz.
PART = re.compile(r"part-[^.]+([.]gz)?")
# Hidden files (._x of macOS, .~lock of LibreOffice), Excel's lock files, files that Windows puts into folders.
HIDDEN = re.compile(r"[.]|~\$|(thumbs[.]db|desktop[.]ini)$")
# Files of unfinished copies and downloads, and checksums and markers of Spark and Hadoop.
UNFINISHED = re.compile(r".*[.](filepart|part|partial|crdownload|download|tmp|temp|crc)$")
MARKERS = re.compile(r"_success$|_committed_|_started_|_temporary$|.*_\$folder\$$")


def is_hidden(key: str) -> bool:
    """Return whether an object is not a delivery: hidden, unfinished, a marker, or in a hidden or marker folder."""
    *folders, file = key.lower().split("/")
    return (
        not file
        or any(pattern.match(file) for pattern in (HIDDEN, UNFINISHED, MARKERS))
        or any(pattern.match(folder) for folder in folders for pattern in (HIDDEN, MARKERS))
    )


def table_of(key: str, tables: tuple[Table, ...] = TABLES) -> Table | None:
    """Return the table of an object by its key, None if it belongs to no table.

    The innermost folder named like a table decides; without one, the file's name has to begin with a table's name. The
    next character must not be a letter: `jobs2021.csv` and `jobs (1).csv` are jobs, `jobsites.csv` is not. A folder
    named like a file, as Spark writes it, is a delivery of that file's table: `jobs.csv/part-00000`. Case does not
    matter.
    """
    *folders, file = key.lower().split("/")
    # Postgres cannot store a NUL in text, and so the ledger cannot record such an object.
    if HIDDEN.match(file) or "\0" in key:
        return None
    is_file_of_a_table = file.endswith(SUFFIXES)
    for folder in reversed(folders):
        if is_file_of_a_table and (table := _named(folder, tables)):
            return table
        is_part = folder.endswith(SUFFIXES) and (is_file_of_a_table or PART.fullmatch(file))
        if is_part and (table := _named_at_the_beginning(folder, tables)):
            return table
    return _named_at_the_beginning(file, tables) if is_file_of_a_table else None


def seems_delivered(key: str) -> bool:
    """Return whether an object was probably meant to be loaded: by its suffix, or by the beginning of its name."""
    file = key.lower().rpartition("/")[2]
    return not is_hidden(key) and (file.endswith(SUFFIXES) or _named_at_the_beginning(file, TABLES) is not None)


def _named(folder: str, tables: tuple[Table, ...]) -> Table | None:
    return next((table for table in tables for name in table.names if folder == name.lower()), None)


def _named_at_the_beginning(file: str, tables: tuple[Table, ...]) -> Table | None:
    matches = [
        (len(name), table)
        for table in tables
        for name in table.names
        if file.startswith(name.lower()) and not file[len(name) : len(name) + 1].isalpha()
    ]
    # The longest, since one name may begin with another.
    return max(matches, key=lambda match: match[0])[1] if matches else None
