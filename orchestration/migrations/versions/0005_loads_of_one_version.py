"""A version of an object that is complete may be loaded again, as another load beside the first."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # Counted, not just allowed: a loader that comes back after a crash must find the load that it had begun.
    op.execute("alter table raw.loads add column reload integer not null default 0 check (reload >= 0)")
    op.execute("""
        comment on column raw.loads.reload is
            'How many loads of the same version were there before it, abandoned ones left out; the last one decides'
    """)
    op.execute("drop index raw.loads_bucket_key_version_idx")
    op.execute("create unique index on raw.loads (bucket, key, version, reload) where status <> 'abandoned'")
