"""What dbt saves of its builds is called watermarks, as everywhere; the old name stays readable and writable."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute("alter table staging.progress rename to watermarks")
    op.execute("alter table staging.watermarks rename column mark to watermark")
    op.execute("alter index staging.progress_pkey rename to watermarks_pkey")
    op.execute("comment on table staging.watermarks is 'How far each model has taken each of its inputs'")
    op.execute("""
        comment on column staging.watermarks.watermark is
            'Of input loads, the last completion that is in the model; of a model, its last build that is in it'
    """)
    # For people's queries, and for the version before this one, which may still be building.
    op.execute("""
        create view staging.progress as
        select model, input, watermark as mark from staging.watermarks
    """)
    op.execute("comment on view staging.progress is 'The former name of staging.watermarks'")
    op.execute("grant select, insert, update, delete on staging.progress to hiring_transformer")
    op.execute("grant select, delete on staging.progress to hiring_restorer")
