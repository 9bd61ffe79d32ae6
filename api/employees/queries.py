"""The SQL that stores a batch of hires."""

from api.database import Database
from api.employees.schemas import Employee

# One statement: there is no moment in which a load is without its records, or the records without their load.
INSERT_BATCH = """
with load as (
    insert into raw.loads (table_name, source, status, records, loaded, rejected, completed_at)
    values ('hired_employees', 'api', 'complete', %(records)s, %(records)s, 0, now())
    returning load_id
),

hires as (
    insert into raw.hired_employees (_load_id, _record, id, name, datetime, department_id, job_id)
    select load.load_id, batch.record, batch.id, batch.name, batch.datetime, batch.department_id, batch.job_id
    from load
    cross join unnest(
        %(id)s::text[], %(name)s::text[], %(datetime)s::text[], %(department_id)s::text[], %(job_id)s::text[]
    ) with ordinality as batch (id, name, datetime, department_id, job_id, record)
)

select load_id from load
"""


async def insert_batch(database: Database, batch: list[Employee]) -> int:
    """Store the batch as it was delivered, and return the number of its load."""
    columns = {column: [str(getattr(employee, column)) for employee in batch] for column in Employee.model_fields}
    (load_id,) = await database.write(INSERT_BATCH, {"records": len(batch), **columns})
    return int(load_id)
