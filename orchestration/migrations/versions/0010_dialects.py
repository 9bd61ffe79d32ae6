"""How each object is written, as its beginning shows: a load that resumes further down has to know."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute("""
        alter table raw.loads
            add column dialect jsonb,
            add column left_out_columns text[],
            add column repeated_headers integer not null default 0
    """)
    op.execute("""
        comment on column raw.loads.dialect is
            'How the object is written: encoding, delimiter, quotes, line of the header, the column of each field'
    """)
    op.execute("""
        comment on column raw.loads.left_out_columns is
            'Names in the object''s header that mean no column of the table; their values are not loaded'
    """)
    op.execute("""
        comment on column raw.loads.repeated_headers is
            'How often the header comes again further down in the object, where files were put together'
    """)
