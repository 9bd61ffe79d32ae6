"""Which columns of raw come from the contract, and which text of each function and view was applied last."""

from alembic import op

revision = "0008"
down_revision = "0007"

# What 0001 created, as version 1.0.0 of the contract declares it.
COLUMNS = {
    "departments": ("id", "department"),
    "jobs": ("id", "job"),
    "hired_employees": ("id", "name", "datetime", "department_id", "job_id"),
}


def upgrade() -> None:
    create_contract_columns()
    create_replaceable_objects()


def create_contract_columns() -> None:
    op.execute("""
        create table raw.contract_columns (
            table_name text not null,
            column_name text not null,
            contract_version text not null,
            primary key (table_name, column_name)
        )
    """)
    op.execute("""
        comment on table raw.contract_columns is
            'Columns of raw that the contract declared, as opposed to those that somebody added by hand'
    """)
    op.execute("""
        comment on column raw.contract_columns.contract_version is
            'Version of the contract that added the column: an older contract may lack it, the same one may not'
    """)
    for table, columns in COLUMNS.items():
        for column in columns:
            op.execute(f"insert into raw.contract_columns values ('{table}', '{column}', '1.0.0')")  # noqa: S608


def create_replaceable_objects() -> None:
    op.execute("create table raw.replaceable_objects (name text primary key, digest text not null)")
    op.execute("""
        comment on table raw.replaceable_objects is
            'Functions and views of raw that migrate replaces, each with the SHA-256 of the text applied last'
    """)
