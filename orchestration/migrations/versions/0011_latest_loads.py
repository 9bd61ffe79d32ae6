"""The latest load of an object decides what is new: a way to it, and the digest of what it has read."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute("create index on raw.loads (bucket, key, load_id) where status <> 'abandoned'")
    op.execute("alter table raw.loads add column digest text")
    op.execute("""
        comment on column raw.loads.digest is
            'SHA-256 of the uncompressed text, where the server gives no ETag and the load read it in one go'
    """)
    op.execute("""
        comment on column raw.loads.version is
            'VersionId in a bucket with versioning, else the ETag, else date and size'
    """)
