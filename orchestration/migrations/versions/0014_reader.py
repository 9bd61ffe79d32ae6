"""The role of BI tools and notebooks: it reads what is built, and sees nobody's name. dbt gives it each relation."""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    create_role()
    let_it_read()
    limit_its_sessions()


def create_role() -> None:
    # Roles belong to the cluster, not to the database: another database may have made it already, even just now.
    # Until it is given a password nobody can log in as it.
    op.execute("""
        do $$
        begin
            create role hiring_reader login;
        exception when duplicate_object or unique_violation then
            null;
        end
        $$
    """)


def let_it_read() -> None:
    # What dbt builds it grants itself, column by column: the next build of a model gives the rights on it.
    op.execute("grant usage on schema staging, marts to hiring_reader")
    op.execute("grant select on staging.watermarks, staging.progress, marts.publications to hiring_reader")
    op.execute("grant select on public.alembic_version to hiring_reader")


def limit_its_sessions() -> None:
    # Against accidents: a join without a condition, or a tab left open in a transaction, for which a build that
    # changes a table would wait.
    for setting in (
        "default_transaction_read_only = on",
        "statement_timeout = '5min'",
        "idle_in_transaction_session_timeout = '5min'",
    ):
        op.execute(f"alter role hiring_reader set {setting}")
    # Of the 100 that Postgres takes by default: a dashboard may not keep the API out.
    op.execute("alter role hiring_reader connection limit 20")
