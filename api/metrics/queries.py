"""The SQL of the metrics. Postgres builds JSON and CSV: rows never become Python objects on their way out.

Which publication of the marts an answer is made of is read in the same snapshot as their rows.
"""

from dataclasses import dataclass
from typing import Any, LiteralString

from api.database import Database
from api.metrics.schemas import Page
from api.publications import Publication

# Not materialized: the page is then read off the mart's index in its order, and the rest is counted, not copied.
HIRES_BY_QUARTER = """
with matching as not materialized (
    select department, job, q1, q2, q3, q4, department_id, job_id
    from marts.hires_by_quarter
    where
        year = %(year)s
        and (cardinality(%(department)s::text[]) = 0 or department = any(%(department)s::text[]))
        and (cardinality(%(job)s::text[]) = 0 or job = any(%(job)s::text[]))
),

page as (
    select *
    from matching
    order by department collate "C", job collate "C", department_id, job_id
    limit %(limit)s offset %(offset)s
),

items as (
    select
        json_agg(
            json_build_object(
                'department', department, 'job', job, 'Q1', q1, 'Q2', q2, 'Q3', q3, 'Q4', q4
            )
            order by department collate "C", job collate "C", department_id, job_id
        ) as items
    from page
),

total as (
    select count(*) as total
    from matching
)

select
    publications.version::text,
    publications.published_at,
    total,
    json_build_object(
        'year', %(year)s::integer,
        'items', coalesce(items, '[]'),
        'total', total,
        'limit', %(limit)s::integer,
        'offset', %(offset)s::integer
    )::text
from items
cross join total
left join marts.publications on publications.mart = 'hires_by_quarter'
"""

# When nobody is above the mean, everybody is at it: every department hired the same number, and the mean is what
# any one of them hired. Either all of them have rows in hires_by_quarter or none has, and then the mean is 0.
# That is why the answer is made of both marts.
DEPARTMENTS_ABOVE_MEAN = """
with above as (
    select id, department, hired, mean
    from marts.departments_above_mean
    where year = %(year)s
),

any_department as (
    select sum(q1 + q2 + q3 + q4)::double precision as hired
    from marts.hires_by_quarter
    where year = %(year)s
    group by department_id
    limit 1
),

items as (
    select
        json_agg(
            json_build_object('id', id, 'department', department, 'hired', hired)
            order by hired desc, id
        ) as items,
        min(mean) as mean
    from above
),

state as (
    select
        string_agg(version::text, ' ' order by mart) as version,
        max(published_at) as published_at
    from marts.publications
    where mart in ('departments_above_mean', 'hires_by_quarter')
    having count(*) = 2
)

select
    state.version,
    state.published_at,
    json_build_object(
        'year', %(year)s::integer,
        'mean', coalesce(mean, (select hired from any_department), 0),
        'items', coalesce(items, '[]')
    )::text
from items
left join state on true
"""


@dataclass(frozen=True)
class Export:
    """A mart's rows as CSV: three statements of one transaction.

    The first keeps builds from replacing the mart, and only then comes the snapshot: taken before, it would not see
    the rows of a table that took the mart's place in between. From there on, it takes as long as there are rows.
    """

    take_hold: LiteralString
    publication: LiteralString
    copy: LiteralString


# A spreadsheet takes a cell that begins like this for a formula, and runs it; behind an apostrophe it is text.
HIRES_BY_QUARTER_CSV = Export(
    take_hold="""
        set transaction isolation level repeatable read;
        lock table marts.hires_by_quarter in access share mode;
        set local statement_timeout = 0
    """,
    publication="""
        select version::text, published_at from marts.publications where mart = 'hires_by_quarter'
    """,
    copy=r"""
        copy (
            select
                regexp_replace(department, '^([-=+@\t\r\n])', '''\1') as department,
                regexp_replace(job, '^([-=+@\t\r\n])', '''\1') as job,
                q1 as "Q1",
                q2 as "Q2",
                q3 as "Q3",
                q4 as "Q4"
            from marts.hires_by_quarter as hires
            where
                year = %(year)s
                and (cardinality(%(department)s::text[]) = 0 or department = any(%(department)s::text[]))
                and (cardinality(%(job)s::text[]) = 0 or job = any(%(job)s::text[]))
            order by hires.department collate "C", hires.job collate "C", department_id, job_id
        ) to stdout with (format csv, header, encoding 'UTF8')
    """,
)

DEPARTMENTS_ABOVE_MEAN_CSV = Export(
    take_hold="""
        set transaction isolation level repeatable read;
        lock table marts.departments_above_mean in access share mode;
        set local statement_timeout = 0
    """,
    publication="""
        select version::text, published_at from marts.publications where mart = 'departments_above_mean'
    """,
    copy=r"""
        copy (
            select id, regexp_replace(department, '^([-=+@\t\r\n])', '''\1') as department, hired
            from marts.departments_above_mean
            where year = %(year)s
            order by hired desc, id
        ) to stdout with (format csv, header, encoding 'UTF8')
    """,
)


async def hires_by_quarter(database: Database, page: Page) -> tuple[Publication | None, int, str]:
    """Return the state of the mart, how many of its rows match, and a page of them as JSON."""
    version, published_at, total, body = await database.read(HIRES_BY_QUARTER, page.model_dump())
    return publication((version, published_at)), total, body


async def departments_above_mean(database: Database, year: int) -> tuple[Publication | None, str]:
    """Return the state of both marts, and the departments above the mean, and the mean, as JSON."""
    version, published_at, body = await database.read(DEPARTMENTS_ABOVE_MEAN, {"year": year})
    return publication((version, published_at)), body


def publication(row: tuple[Any, ...] | None) -> Publication | None:
    """Return what is known of a state of the marts: of marts that were never published as such, nothing."""
    return Publication(*row) if row and row[0] else None
