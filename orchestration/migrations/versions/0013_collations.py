"""Text that an index orders is ordered by code point: the order of a locale changes with the system's C library.

An index whose order is another one than the server's finds rows that are there no more, and takes the same key twice.
Only the indexes are rebuilt; no table is rewritten.
"""

from alembic import op

revision = "0013"
down_revision = "0012"

# The one row of public.alembic_version has no order.
COLUMNS = {
    "raw.loads": ("bucket", "key", "version"),
    "raw.batch_answers": ("sender", "idempotency_key"),
    "raw.contract_columns": ("table_name", "column_name"),
    "raw.replaceable_objects": ("name",),
    "staging.watermarks": ("model", "input"),
    "marts.publications": ("mart",),
}


def upgrade() -> None:
    changes = "".join(
        # In one statement for a table, which builds each of its indexes once.
        f"alter table {table} " + ", ".join(f'alter {column} type text collate "C"' for column in columns) + ";"
        for table, columns in COLUMNS.items()
    )
    # Views on these columns stand in the way. raw.discrepancies is created again from its file.
    op.execute(f"""
        do $$
        declare
            dependents text;
        begin
            drop view if exists raw.discrepancies;
            drop view staging.progress;
            {changes}
        exception when feature_not_supported or dependent_objects_still_exist then
            get stacked diagnostics dependents = pg_exception_detail;
            raise exception using message = 'views stand in the way of a new collation: '
                || replace(dependents, chr(10), '; ') || '; drop them, migrate, and create them again';
        end
        $$
    """)
    op.execute("create view staging.progress as select model, input, watermark as mark from staging.watermarks")
    op.execute("comment on view staging.progress is 'The former name of staging.watermarks'")
    op.execute("grant select, insert, update, delete on staging.progress to hiring_transformer")
    op.execute("grant select, delete on staging.progress to hiring_restorer")
