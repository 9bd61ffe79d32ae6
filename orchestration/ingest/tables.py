"""Which table an object belongs to by its key, and which objects are passed over."""

import re

from contracts import TABLES, Table

SUFFIXES = (".csv", ".csv.gz", ".xlsx")
# What Spark and Hadoop write into a folder that is named like a file: part-00000, part-m-00000.gz.
PART = re.compile(r"part-[^.]+([.]gz)?")
# Hidden files (._x of a Mac, .~lock of LibreOffice), owner files of Excel, what Windows puts into folders.
HIDDEN = re.compile(r"[.]|~\$|(thumbs[.]db|desktop[.]ini)$")
# What programs write while they copy or download, and Spark and Hadoop next to their data.
UNFINISHED = re.compile(r".*[.](filepart|part|partial|crdownload|download|tmp|temp|crc)$")
MARKERS = re.compile(r"_success$|_committed_|_started_|_temporary$|.*_\$folder\$$")


def is_hidden(key: str) -> bool:
    """Return whether an object is none that anybody delivers: hidden, unfinished, a marker, or in such a folder."""
    *folders, file = key.lower().split("/")
    return (
        not file
        or any(kind.match(file) for kind in (HIDDEN, UNFINISHED, MARKERS))
        or any(kind.match(folder) for folder in folders for kind in (HIDDEN, MARKERS))
    )


def table_of(key: str, tables: tuple[Table, ...] = TABLES) -> Table | None:
    """Return the table that an object belongs to by its key, None when it belongs to none.

    A folder that bears a table's name decides, the innermost first; else the file's name, which has to begin with it.
    After the name comes anything but a letter: `jobs2021.csv` and `jobs (1).csv` are jobs, `jobsites.csv` is not.
    A folder named like a file, as Spark writes it, is a delivery of that file's table: `jobs.csv/part-00000`. Case does
    not matter.
    """
    *folders, file = key.lower().split("/")
    # Postgres has no text with a NUL in it, and so no entry for such an object.
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
    """Return whether somebody probably meant an object to be loaded: by its suffix, or by its beginning."""
    file = key.lower().rpartition("/")[2]
    return not is_hidden(key) and (file.endswith(SUFFIXES) or _named_at_the_beginning(file, TABLES) is not None)


def _named(folder: str, tables: tuple[Table, ...]) -> Table | None:
    return next((table for table in tables for name in table.names if folder == name.lower()), None)


def _named_at_the_beginning(file: str, tables: tuple[Table, ...]) -> Table | None:
    found = [
        (len(name), table)
        for table in tables
        for name in table.names
        if file.startswith(name.lower()) and not file[len(name) : len(name) + 1].isalpha()
    ]
    # One name may begin with another one.
    return max(found, key=lambda of_length: of_length[0])[1] if found else None
