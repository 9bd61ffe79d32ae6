"""The tables that objects are loaded into, and which table an object's key belongs to."""

from dataclasses import dataclass

SUFFIXES = (".csv", ".csv.gz")


@dataclass(frozen=True)
class Table:
    """A raw table: its name, its columns in the order of a file without a header, other names that files use."""

    name: str
    columns: tuple[str, ...]
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that a key may call it by."""
        return (self.name, *self.aliases)


TABLES = (
    Table("departments", ("id", "department")),
    Table("jobs", ("id", "job")),
    Table("hired_employees", ("id", "name", "datetime", "department_id", "job_id"), aliases=("employees",)),
)


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
