"""Schema raw: what arrived, the ledger of loads, and the three roles with the least rights that they need."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    create_roles()
    create_raw_tables()
    create_ledger()
    create_schemas_of_dbt()
    grant()


def create_roles() -> None:
    # Roles belong to the cluster, not to the database: another database may have made them already, even just now.
    for role in ("hiring_loader", "hiring_transformer", "hiring_api"):
        op.execute(f"""
            do $$
            begin
                create role {role} login;
            exception when duplicate_object or unique_violation then
                null;
            end
            $$
        """)


def create_raw_tables() -> None:
    op.execute("create schema raw")
    op.execute("comment on schema raw is 'Records as they were delivered, as text, and the ledger of loads'")
    for table, columns, content in (
        ("departments", ("id", "department"), "department"),
        ("jobs", ("id", "job"), "job"),
        ("hired_employees", ("id", "name", "datetime", "department_id", "job_id"), "hire"),
    ):
        op.execute(f"""
            create table raw.{table} (
                _load_id bigint not null,
                _record bigint not null,
                {", ".join(f"{column} text" for column in columns)}
            )
        """)
        op.execute(f"comment on table raw.{table} is 'One row a delivered {content}, untouched'")
        op.execute(f"comment on column raw.{table}._load_id is 'The load that brought it (raw.loads)'")
        op.execute(f"comment on column raw.{table}._record is 'Record number in its object or batch, from 1'")


def create_ledger() -> None:
    op.execute("""
        create table raw.loads (
            load_id bigint generated always as identity primary key,
            table_name text not null,
            source text not null check (source in ('object', 'api')),
            bucket text,
            key text,
            version text,
            bytes bigint,
            last_modified timestamptz,
            columns text[],
            status text not null default 'loading'
                check (status in ('loading', 'complete', 'failed', 'abandoned')),
            records bigint check (records = loaded + rejected),
            loaded bigint,
            rejected bigint,
            started_at timestamptz not null default now(),
            completed_at timestamptz,
            error text,
            unique (bucket, key, version),
            check (source = 'api' or num_nonnulls(bucket, key, version) = 3),
            check (source = 'object' or num_nonnulls(bucket, key, version) = 0),
            check (status <> 'complete' or num_nonnulls(records, loaded, rejected, completed_at) = 4)
        )
    """)
    op.execute("comment on table raw.loads is 'One row a version of an object, or a batch over HTTP'")
    op.execute("comment on column raw.loads.version is 'VersionId in a bucket with versioning, else the ETag'")
    op.execute("comment on column raw.loads.columns is 'The object''s columns in their order, once it is known'")
    op.execute("""
        create table raw.load_chunks (
            load_id bigint not null references raw.loads,
            chunk integer not null,
            first_record bigint not null,
            records integer not null,
            rejected integer not null,
            byte_from bigint not null,
            byte_to bigint not null,
            loaded_at timestamptz not null default now(),
            primary key (load_id, chunk)
        )
    """)
    op.execute("comment on table raw.load_chunks is 'One row a committed chunk; bytes count in the uncompressed text'")
    op.execute("""
        create table raw.rejected_records (
            load_id bigint not null references raw.loads,
            record bigint not null,
            reason text not null,
            message text not null,
            byte_from bigint not null,
            raw bytea not null,
            primary key (load_id, record)
        )
    """)
    op.execute("comment on table raw.rejected_records is 'Records that cannot be rows of their table, as they came'")


def create_schemas_of_dbt() -> None:
    # Owned by the migrating role, so that dbt may fill them but neither drop nor rename them.
    for schema in ("staging", "marts"):
        op.execute(f"create schema {schema}")
        op.execute(f"grant usage, create on schema {schema} to hiring_transformer")
    op.execute("grant usage on schema marts to hiring_api")


def grant() -> None:
    op.execute("grant usage on schema raw to hiring_loader, hiring_transformer, hiring_api")
    op.execute("grant select on all tables in schema raw to hiring_transformer")
    op.execute("grant select on all tables in schema raw to hiring_loader")
    op.execute("""
        grant insert on raw.departments, raw.jobs, raw.hired_employees, raw.load_chunks, raw.rejected_records
        to hiring_loader
    """)
    op.execute("grant insert, update on raw.loads to hiring_loader")
    # The columns of an object's version are missing on purpose: the API can record batches and nothing else.
    op.execute("""
        grant insert (table_name, source, status, records, loaded, rejected, completed_at), select (load_id)
        on raw.loads to hiring_api
    """)
    op.execute("grant insert on raw.hired_employees to hiring_api")
