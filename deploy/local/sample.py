"""The generated sample: three CSV files with the kinds of errors that real files have, the same ones each time.

The files have no header: their columns are in the order of the contract, without optional ones unknown to the sample.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from contracts import table_named

SEED = 20210101
HIRES = 2000
DEPARTMENTS = (
    "Accounting", "Customer Care", "Data Platform", "Facilities", "Legal, Risk and Compliance", "Logistics",
    "Marketing", "People", "Procurement", "Quality", "Research", "Sales", "Field Service \"North\"",
)  # fmt: skip
LEVELS = ("Junior", "", "Senior", "Lead")
TRADES = (
    "Accountant", "Analyst", "Buyer", "Chemist", "Controller", "Data Engineer", "Designer", "Electrician", "Lawyer",
    "Mechanic", "Planner", "Recruiter", "Researcher", "Sales Representative", "Technician", "Writer, Technical",
)  # fmt: skip
GIVEN = (
    "Ada", "Amélie", "Bjørn", "Chidi", "Dolores", "Emre", "Fatima", "Giulia", "Hana", "Iñaki", "Jürgen", "Keanu",
    "Leilani", "Łukasz", "Mei", "Nadia", "Owen", "Priya", "Quentin", "Rosa", "Sven", "Tomás", "Uma", "Víctor",
)  # fmt: skip
FAMILY = (
    "Abe", "Álvarez", "Brown", "Çelik", "Dubois", "Eriksen", "Fischer", "García", "Haddad", "Ivanova", "Jansen",
    "Kowalski", "Lindqvist", "Moreau", "Nguyen", "Okafor", "O'Neill", "Papadopoulos", "Rossi", "Suzuki", "Weiß",
)  # fmt: skip
OTHER_SCRIPTS = ("王小明", "佐藤 花子", "Анна Петрова", "محمد علي", "Ελένη Γεωργίου", "דנה לוי", "김민준", "प्रिया शर्मा")


def write_sample(folder: Path) -> None:
    """Write departments.csv, jobs.csv and hired_employees.csv into an existing folder: no header, CRLF, UTF-8."""
    for name, frame in sample().items():
        # Renamed into place, since a sensor may be listing the folder.
        draft = folder / f".{name}.new"
        columns = [column for column in table_named(name).column_names if column in frame]
        frame.to_csv(draft, columns=columns, header=False, index=False, lineterminator="\r\n", encoding="utf-8")
        draft.rename(folder / f"{name}.csv")


def sample() -> dict[str, pd.DataFrame]:
    """Return the sample's records as text by table: about 2,000 hires of two years, some of them invalid."""
    random = np.random.default_rng(SEED)
    jobs = [f"{level} {trade}".strip() for trade in TRADES for level in LEVELS]
    return {
        "departments": pd.DataFrame(list(enumerate(DEPARTMENTS, 1)), columns=["id", "department"]),
        "jobs": pd.DataFrame(list(enumerate(jobs, 1)), columns=["id", "job"]),
        "hired_employees": _with_dirt(_hires(random, len(jobs)), random),
    }


def _hires(random: np.random.Generator, jobs: int) -> pd.DataFrame:
    """Return valid hires of 2021 and 2022; the last department hires nobody, but counts in the mean."""
    hiring = len(DEPARTMENTS) - 1
    sizes = random.dirichlet(np.full(hiring, 4.0))
    given, family = random.choice(GIVEN, HIRES), random.choice(FAMILY, HIRES)
    names = [f"{first} {last}" for first, last in zip(given, family, strict=True)]
    seconds = random.integers(0, 730 * 86_400, HIRES)
    hired_at = pd.Timestamp("2021-01-01") + pd.to_timedelta(seconds, unit="s")
    hires = pd.DataFrame(
        {
            "id": np.arange(1, HIRES + 1),
            "name": names,
            "datetime": hired_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "department_id": random.choice(np.arange(1, hiring + 1), HIRES, p=sizes),
            "job_id": random.integers(1, jobs + 1, HIRES),
        }
    ).astype("string")
    for row, name in zip(random.choice(HIRES, 40, replace=False), random.choice(OTHER_SCRIPTS, 40), strict=True):
        hires.loc[row, "name"] = name
    return hires


def _with_dirt(hires: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """Replace some values by errors that real files have; the other records stay unchanged."""
    rows = iter(random.choice(HIRES, 120, replace=False))
    for column in ("name", "datetime", "department_id", "job_id"):
        for _ in range(12):
            hires.loc[next(rows), column] = pd.NA
    for column, unknown in (("department_id", "99"), ("job_id", "999")):
        for _ in range(4):
            hires.loc[next(rows), column] = unknown
    for wrong in ("2021-02-30T10:00:00Z", "31/12/2021", "soon"):
        hires.loc[next(rows), "datetime"] = wrong
    hires.loc[next(rows), "department_id"] = "Sales"
    hires.loc[next(rows), "job_id"] = "0"
    hires.loc[next(rows), "name"] = 'Garcia, Maria "Mía"'
    hires.loc[next(rows), "datetime"] = "2021-12-31T23:30:00-02:00"
    # The same hires again, as corrections further down in a file.
    corrected = hires.loc[[next(rows) for _ in range(10)]].assign(job_id="7")
    return pd.concat([hires, corrected], ignore_index=True)
