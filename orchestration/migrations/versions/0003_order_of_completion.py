"""In which order loads became complete, a way to the records of one load, and what dbt remembers of its builds."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    number_completions()
    index_records_by_load()
    create_memory_of_builds()
    prepare_sessions_of_dbt()


def number_completions() -> None:
    op.execute("create sequence raw.completions as bigint")
    op.execute("alter table raw.loads add column completion bigint unique")
    op.execute("""
        comment on column raw.loads.completion is
            'Which complete load it is, by the order of commits: once n is seen, every lower number has been'
    """)
    op.execute("""
        with in_order as (
            select load_id from raw.loads where status = 'complete' order by load_id
        )
        update raw.loads set completion = nextval('raw.completions')
        from in_order where loads.load_id = in_order.load_id
    """)
    # Numbers taken in a transaction come in the order in which they are asked for, not in that of the commits: a
    # reader could see 6, take everything up to it as read, and miss the 5 that commits later. Deferred to the commit
    # and behind a lock until its end, the two orders are one, and nobody waits longer than for another's commit.
    op.execute("""
        create function raw.number_completion() returns trigger
        language plpgsql security definer set search_path = pg_catalog as $$
        begin
            perform pg_advisory_xact_lock(hashtextextended('raw.completions', 0));
            update raw.loads set completion = nextval('raw.completions')
            where load_id = new.load_id and status = 'complete' and completion is null;
            return null;
        end
        $$
    """)
    op.execute("revoke all on function raw.number_completion() from public")
    op.execute("""
        create constraint trigger number_completion
        after insert or update of status on raw.loads
        deferrable initially deferred
        for each row when (new.status = 'complete' and new.completion is null)
        execute function raw.number_completion()
    """)


def index_records_by_load() -> None:
    # Records lie in the order in which they came: a summary of each few pages finds a load, and costs a COPY nothing
    # measurable where a B-tree costs it half as much again.
    for table in ("departments", "jobs", "hired_employees"):
        op.execute(f"create index on raw.{table} using brin (_load_id) with (pages_per_range = 32)")
    op.execute("""
        create function raw.summarize_new_records(table_name text) returns integer
        language sql security definer set search_path = pg_catalog as $$
            select brin_summarize_new_values(format('raw.%I', table_name || '__load_id_idx')::regclass)
        $$
    """)
    op.execute("""
        comment on function raw.summarize_new_records is
            'Lets the index by load know of pages that are new: without it they are all read'
    """)
    op.execute("revoke all on function raw.summarize_new_records(text) from public")
    op.execute("grant execute on function raw.summarize_new_records(text) to hiring_transformer")


def create_memory_of_builds() -> None:
    # dbt made it, to remember what it now does in progress.
    op.execute("drop table if exists marts.published_loads")
    op.execute("""
        create table staging.progress (
            model text not null,
            input text not null,
            mark bigint not null,
            primary key (model, input)
        )
    """)
    op.execute("comment on table staging.progress is 'How far each model has taken what it reads'")
    op.execute("""
        comment on column staging.progress.mark is
            'Of input loads, the last completion in it; of a model, that model''s last build in it'
    """)
    op.execute("grant select, insert, update, delete on staging.progress to hiring_transformer")
    op.execute("""
        create table marts.publications (
            mart text primary key,
            version bigint not null,
            published_at timestamptz not null
        )
    """)
    op.execute("comment on table marts.publications is 'One row a mart: how often it has changed, and when last'")
    op.execute("grant select, insert, update, delete on marts.publications to hiring_transformer")
    op.execute("grant select on marts.publications to hiring_api")


def prepare_sessions_of_dbt() -> None:
    # A build looks up many single rows, which lie in memory or on an SSD; the first one judges, sorts and indexes all
    # of a table, which several processes do faster. Compiling a statement takes longer than most of its statements.
    for setting in (
        "random_page_cost = 1.1",
        "parallel_tuple_cost = 0.01",
        "work_mem = '64MB'",
        "maintenance_work_mem = '256MB'",
        "jit = off",
    ):
        op.execute(f"alter role hiring_transformer in database {_this_database()} set {setting}")


def _this_database() -> str:
    return str(op.get_bind().exec_driver_sql("select quote_ident(current_database())").scalar_one())
