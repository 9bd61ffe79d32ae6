"""Computes the two metrics from the CSV files with pandas alone; it shares only column names with the pipeline.

It knows the data rules for files of single records with integer ids: trims, drops records with a missing or wrong
field, lets a later record replace an earlier one, and ignores hires whose department or job is unknown.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from contracts import TABLES

# Of ASCII, of Unicode (no-break spaces, a separator of lines and one of paragraphs), and what has no width.
WHITE_SPACE = " \t\n\r\v\f\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000\u200b\u200c\u200d\u2060\ufeff" + "".join(
    map(chr, range(0x2000, 0x200B))
)
# Of files without a header that have the required columns only. The rules below are this oracle's own.
COLUMNS = {table.name: list(table.required_names) for table in TABLES}


def read(paths: Iterable[Path], table: str) -> pd.DataFrame:
    """Read headerless CSV files, in the order given, as text."""
    frames = [
        pd.read_csv(
            path, header=None, names=COLUMNS[table], dtype="string", keep_default_na=False, encoding="utf-8-sig"
        )
        for path in paths
    ]
    return pd.concat(frames, ignore_index=True)


def valid(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the valid records, typed, the latest of each id."""
    frame = frame.apply(lambda column: column.str.strip(WHITE_SPACE))
    kept = (frame != "").all(axis=1)
    for column in frame.columns:
        # NULL, NaN and the like are neither numbers nor timestamps, so they need no rule here.
        if column == "id" or column.endswith("_id"):
            is_integer = frame[column].str.fullmatch(r"\+?[0-9]+(\.0+)?")
            digits = frame[column].where(is_integer).str.replace(r"\.0+$", "", regex=True)
            number = pd.to_numeric(digits, errors="coerce")
            kept &= number.between(1, 2**31 - 1)
            frame[column] = number
        elif column == "datetime":
            text = frame[column].str.upper().str.replace(r" ?(UTC|Z|[+-][0-9:]+)$", r"\1", regex=True)
            text = text.str.replace("UTC", "Z")
            moment = pd.to_datetime(text, utc=True, errors="coerce", format="ISO8601")
            kept &= moment.dt.year.between(1900, 2100)
            frame[column] = moment
    return frame[kept.fillna(False)].drop_duplicates("id", keep="last").convert_dtypes()


def counted(departments: pd.DataFrame, jobs: pd.DataFrame, hires: pd.DataFrame) -> pd.DataFrame:
    """Return the hires that count, with names of department and job, year, quarter and month."""
    joined = valid(hires).merge(
        valid(departments).rename(columns={"id": "department_id"}), on="department_id"
    ).merge(valid(jobs).rename(columns={"id": "job_id"}), on="job_id")  # fmt: skip
    return joined.assign(
        year=joined["datetime"].dt.year,
        quarter=joined["datetime"].dt.quarter,
        month=joined["datetime"].dt.month,
    )


def hires_by_quarter(frames: dict[str, pd.DataFrame], year: int) -> list[dict[str, object]]:
    """Return metric 1 of a year as the API's items."""
    hires = counted(frames["departments"], frames["jobs"], frames["hired_employees"])
    hires = hires[hires["year"] == year]
    keys = ["department", "job", "department_id", "job_id"]
    table = hires.pivot_table(index=keys, columns="quarter", values="id", aggfunc="count", fill_value=0)
    table = table.reindex(columns=[1, 2, 3, 4], fill_value=0)
    items = [
        {"department": department, "job": job, "Q1": int(q1), "Q2": int(q2), "Q3": int(q3), "Q4": int(q4), "_ids": ids}
        for (department, job, *ids), (q1, q2, q3, q4) in zip(table.index, table.to_numpy(), strict=True)
    ]
    # Python's order of strings is by code point, as the pipeline's.
    items.sort(key=lambda item: (item["department"], item["job"], item["_ids"]))
    return [{name: value for name, value in item.items() if name != "_ids"} for item in items]


def hires_by_month(frames: dict[str, pd.DataFrame], year: int) -> list[dict[str, object]]:
    """Return how many people each department hired in each month of a year, in order, without those of none."""
    hires = counted(frames["departments"], frames["jobs"], frames["hired_employees"])
    hired = hires[hires["year"] == year].groupby(["month", "department_id", "department"])["id"].count()
    return [
        {"month": int(month), "department_id": int(number), "department": department, "hired": int(count)}
        for (month, number, department), count in hired.items()
    ]


def departments_above_mean(frames: dict[str, pd.DataFrame], year: int) -> tuple[float, list[dict[str, object]]]:
    """Return metric 2 of a year: the mean, and the API's items."""
    departments = valid(frames["departments"])
    hires = counted(frames["departments"], frames["jobs"], frames["hired_employees"])
    hired = hires[hires["year"] == year].groupby("department_id")["id"].count()
    hired = hired.reindex(departments["id"], fill_value=0)
    mean = float(hired.mean())
    names = departments.set_index("id")["department"]
    above = [
        {"id": int(number), "department": names[number], "hired": int(count)}
        for number, count in hired.items()
        if count * len(hired) > hired.sum()
    ]
    return mean, sorted(above, key=lambda item: (-int(str(item["hired"])), int(str(item["id"]))))


def frames(folder: Path, files: dict[str, Sequence[str]]) -> dict[str, pd.DataFrame]:
    """Read the named files of a folder by table, later ones replacing earlier ones."""
    return {table: read([folder / name for name in names], table) for table, names in files.items()}
