"""Which table an object belongs to by its key."""

from contracts import TABLES, Table

SUFFIXES = (".csv", ".csv.gz")


def table_of(key: str, tables: tuple[Table, ...] = TABLES) -> Table | None:
    """Return the table that an object belongs to by its key, None when it belongs to none.

    A folder that bears a table's name decides, the innermost first; else the file's name, which has to start with it.
    Case does not matter: `2021/Jobs.CSV`, `jobs/may.csv.gz` and `jobs_may.csv` are all jobs.
    """
    *folders, file = key.lower().split("/")
    if not file.endswith(SUFFIXES):
        return None
    for folder in reversed(folders):
        for table in tables:
            if folder in table.names:
                return table
    return next((table for table in tables if file.startswith(table.names)), None)
