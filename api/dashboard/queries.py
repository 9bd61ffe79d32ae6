"""The SQL of what the dashboard shows around metric 2: rows of a year with their totals, all years, and names."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from psycopg.sql import SQL

from api.dashboard.query import DashboardQuery
from api.database import Database

# What a search is for is looked up among the names that are known: Postgres finds exact names only.
MATCHES = SQL("""
    (cardinality(%(department)s::text[]) = 0 or department = any(%(department)s::text[]))
    and (cardinality(%(job)s::text[]) = 0 or job = any(%(job)s::text[]))
    and (
        not %(is_search)s
        or department = any(%(found_departments)s::text[])
        or job = any(%(found_jobs)s::text[])
    )
""")

# Departments stay together in any order, so that each has one heading; names leave no ties with ids after them.
ORDERS = {
    "name": SQL('department collate "C", department_id, job collate "C", job_id'),
    "hires": SQL("""
        department_hired desc, department collate "C", department_id, hired desc, job collate "C", job_id
    """),
}

ROWS = """
with matching as materialized (
    select
        *,
        q1 + q2 + q3 + q4 as hired,
        sum(q1 + q2 + q3 + q4) over (partition by department_id) as department_hired
    from marts.hires_by_quarter
    where
        year = %(year)s
        and {matches}
),

page as (
    select *, row_number() over (order by {order}) as place
    from matching
    order by place
    limit %(limit)s offset %(offset)s
),

departments as (
    select department_id, department, sum(q1) as q1, sum(q2) as q2, sum(q3) as q3, sum(q4) as q4, sum(hired) as hired
    from matching
    where department_id in (select department_id from page)
    group by department_id, department
)

select
    count(*),
    count(distinct department_id),
    json_build_array(
        coalesce(sum(q1), 0), coalesce(sum(q2), 0), coalesce(sum(q3), 0), coalesce(sum(q4), 0), coalesce(sum(hired), 0)
    ),
    (
        select
            coalesce(
                json_object_agg(
                    department_id, json_build_array(department, json_build_array(q1, q2, q3, q4, hired))
                ),
                '{{}}'
            )
        from departments
    ),
    (
        select
            coalesce(json_agg(json_build_array(department_id, job, q1, q2, q3, q4, hired) order by place), '[]')
        from page
    )
from matching
"""
ROWS_QUERIES = {sort: SQL(ROWS).format(matches=MATCHES, order=order).as_bytes() for sort, order in ORDERS.items()}

# Quantiles of the different numbers, not of the cells: most cells have 1 or 2, and would share one colour.
SURROUNDINGS = (
    SQL("""
with years as (
    select year, sum(q1) as q1, sum(q2) as q2, sum(q3) as q3, sum(q4) as q4
    from marts.hires_by_quarter
    where {matches}
    group by year
),

hires as (
    select department_id, department, job, q1, q2, q3, q4
    from marts.hires_by_quarter
    where year = %(year)s
),

-- Also those that hired nobody.
departments as (
    select department_id as id, department, sum(q1 + q2 + q3 + q4) as hired
    from hires
    group by department_id, department
    union all
    select id, department, 0
    from marts.known_departments
    where id not in (select department_id from hires)
),

others as (
    select id, department, hired
    from departments
    where id not in (select id from marts.departments_above_mean where year = %(year)s)
)

select
    (select coalesce(json_agg(json_build_array(year, q1, q2, q3, q4) order by year), '[]') from years),
    exists (select from marts.hires_by_quarter),
    array(select distinct department collate "C" as name from hires order by name limit %(choices)s),
    array(select distinct job collate "C" as name from hires order by name limit %(choices)s),
    (select count(*) from others),
    (
        select coalesce(json_agg(json_build_array(department, hired)), '[]')
        from (select * from others order by hired desc, id limit %(choices)s) as first_others
    ),
    (
        select percentile_disc(array[0.2, 0.4, 0.6, 0.8, 1]) within group (order by hired)
        from (select distinct unnest(array[q1, q2, q3, q4]) as hired from hires) as numbers
        where hired > 0
    )
""")
    .format(matches=MATCHES)
    .as_bytes()
)

NAMES = """
select
    array(select distinct department collate "C" as name from marts.known_departments order by name),
    array(select distinct job collate "C" as name from marts.known_jobs order by name)
"""


class Rows(NamedTuple):
    """A page of the rows that match, with the totals of all that match.

    Attributes:
        total: How many rows match, on all pages.
        departments: How many departments have one.
        hires: Hires of quarters 1 to 4 and of the year.
        groups: For each department of the page, by its id as text, its name and a list of its hires as above.
        items: Id of the department, job, and hires as above.
    """

    total: int
    departments: int
    hires: list[int]
    groups: dict[str, list[Any]]
    items: list[list[Any]]


class Surroundings(NamedTuple):
    """What there is to choose from and to compare with.

    Attributes:
        years: Each year with rows that match, and the hires of its quarters.
        has_hires: Whether there are hires of any year, whether or not they match.
        departments: Names to choose from, of the year.
        jobs: Names to choose from, of the year.
        total_others: How many departments are not above the mean.
        others: Their names and hires, as many as are listed.
        quantiles: Of the numbers of hires of a quarter, the tops of five parts; None without any.
    """

    years: list[list[int]]
    has_hires: bool
    departments: list[str]
    jobs: list[str]
    total_others: int
    others: list[tuple[str, int]]
    quantiles: list[int] | None


class Names(NamedTuple):
    """The names of all departments and jobs that are known, whether or not they hired in a year."""

    departments: list[str]
    jobs: list[str]

    def containing(self, text: str) -> "Names":
        """Return the names that have a text somewhere in them, in capitals or not."""
        folded = text.casefold()
        return Names(*([name for name in names if folded in name.casefold()] for names in self))


@dataclass(frozen=True)
class Matching:
    """What a query is for, with the names that its search finds.

    Attributes:
        query: The query.
        found: Names that its search finds; None without a search.
    """

    query: DashboardQuery
    found: Names | None

    async def rows(self, database: Database) -> Rows:
        """Return a page of the rows that match.

        Raises:
            psycopg.Error: the database cannot be reached or takes too long, or the marts are not built yet.
        """
        return Rows(*await database.read(ROWS_QUERIES[self.query.sort], self._parameters))

    async def surroundings(self, database: Database, choices: int) -> Surroundings:
        """Return what there is around the rows, and of its lists so many items.

        Raises:
            psycopg.Error: the database cannot be reached or takes too long, or the marts are not built yet.
        """
        return Surroundings(*await database.read(SURROUNDINGS, self._parameters | {"choices": choices}))

    @property
    def _parameters(self) -> dict[str, Any]:
        found = self.found or Names([], [])
        return self.query.model_dump() | {
            "is_search": self.found is not None,
            "found_departments": found.departments,
            "found_jobs": found.jobs,
        }


async def known_names(database: Database) -> Names:
    """Return the names of all departments and jobs.

    Raises:
        psycopg.Error: the database cannot be reached or takes too long, or the marts are not built yet.
    """
    return Names(*await database.read(NAMES, {}))
