"""The result of loads in a database, for a row-by-row comparison with that of an undisturbed load."""

from typing import Any

import psycopg

Left = dict[str, list[tuple[Any, ...]]]

COLUMNS = {
    "jobs": "id, job",
    "departments": "id, department",
    "hired_employees": "id, name, datetime, department_id, job_id",
}


def what_counts(conninfo: str, table: str = "jobs") -> Left:
    """Return everything about complete loads that has to be the same for any history.

    That is all but the bucket, load ids, which an interrupted attempt may use up, and times, versions among them.
    """
    counting = "inner join raw.loads as l on l.load_id = r.{} and l.status = 'complete'"
    questions = {
        table: f"""
            select l.key, r._record, {COLUMNS[table]} from raw.{table} as r {counting.format("_load_id")} order by 1, 2
        """,
        "rejected_records": f"""
            select l.key, r.record, r.line, r.byte_from, r.reason, r.message, r.raw, r.raw_bytes, r.delivered
            from raw.rejected_records as r {counting.format("load_id")} order by 1, 2
        """,
        "invalid_records": f"""
            select l.key, r.record, r.line, r.reasons
            from raw.invalid_records as r {counting.format("load_id")} order by 1, 2
        """,
        "corrections": f"""
            select l.key, r.record, r.corrected_load_id, r.corrected_record, r.note
            from raw.corrections as r {counting.format("load_id")} order by 1, 2
        """,
        "load_chunks": f"""
            select
                l.key, r.chunk, r.first_record, r.records, r.malformed, r.invalid, r.byte_from, r.byte_to, r.first_line,
                r.lines
            from raw.load_chunks as r {counting.format("load_id")} order by 1, 2
        """,
        "loads": """
            select table_name, source, key, bytes, columns, records, loaded, malformed, invalid, error
            from raw.loads where status = 'complete' order by key, load_id
        """,
    }
    with psycopg.connect(conninfo, autocommit=True) as connection:
        return {name: connection.execute(question.encode()).fetchall() for name, question in questions.items()}


def discrepancies(conninfo: str) -> list[tuple[Any, ...]]:
    """Return the discrepancies of a database."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        return connection.execute("select * from raw.discrepancies").fetchall()


def forget(conninfo: str) -> None:
    """Empty a database of all that was ever loaded."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("""
            truncate raw.departments, raw.jobs, raw.hired_employees, raw.corrections, raw.loads
            restart identity cascade
        """)
