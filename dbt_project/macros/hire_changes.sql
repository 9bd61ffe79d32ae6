-- Incremental counts: an incremental build logs by how much the number of hires of each
-- quarter, department and job has changed, and quarterly_hires adds that to its rows.
-- Counting all hires of these quarters would take longer with each year of history.
--
-- Each build of checked_hired_employees writes these rows to staging.hire_changes in
-- its transaction, and one row without a quarter, which shows quarterly_hires that the
-- build has logged its changes: after a build without a log, it counts everything.
{% macro create_hire_changes() %}
    create table if not exists {{ hire_changes() }} (
        build bigint not null,
        year integer,
        quarter integer,
        department_id integer,
        job_id integer,
        month_1 bigint not null,
        month_2 bigint not null,
        month_3 bigint not null
    )
{% endmacro %}


{% macro hire_changes() %}
    staging.hire_changes
{% endmacro %}


-- Logs how the rows of a temporary table will change the model, before they are
-- written. A quarter of a valid record is logged even without an accepted hire.
{% macro log_hire_changes(target, temporary) %}
    {% set keys = key_columns() %}
    {% set columns = columns_of_relation(temporary) | list %}
    {% set compared = columns | reject('in', keys + ['_build']) | list %}
    {% set counted = ['hired_year', 'hired_quarter', 'department_id', 'job_id'] %}
    {% set sided = counted + ['hired_month', 'reasons', 'disposition'] %}
    {% call statement('log') %}
        with

        differences as materialized (

            select side.*
            from {{ temporary }} as new
            left join {{ target }} as old using ({{ keys | join(', ') }})
            cross join lateral (
                values
                (new.{{ sided | join(', new.') }}, 1),
                (old.{{ sided | join(', old.') }}, -1)
            ) as side ({{ sided | join(', ') }}, change)
            where
                (old.{{ compared | join(', old.') }})
                is distinct from (new.{{ compared | join(', new.') }})

        )

        insert into {{ hire_changes() }}
        select
            {{ build_number() }},
            {{ counted | join(', ') }},
            {% for month in (1, 2, 0) %}
            coalesce(
                sum(change) filter (
                    where disposition = 'accepted' and hired_month % 3 = {{ month }}
                ),
                0
            )
            {% if not loop.last %},{% endif %}
            {% endfor %}
        from differences
        where reasons = '[]'
        group by {{ counted | join(', ') }}
        union all
        select {{ build_number() }}, null, null, null, null, 0, 0, 0
        where exists (select 1 from differences)
    {% endcall %}
{% endmacro %}


-- For builds from all records: changes logged before them are no longer relevant.
{% macro forget_hire_changes() %}
    {% do run_query('delete from ' ~ hire_changes()) %}
{% endmacro %}
