-- Counting by what changed: a build of what is new logs by how many hires each quarter
-- of a department and job grew or shrank, and quarterly_hires adds that to what it has.
-- To count all hires of these quarters would cost more with each year of history.
--
-- staging.hire_changes has these rows for each build of checked_hired_employees, in the
-- transaction of the build, and one without a quarter, by which quarterly_hires sees
-- that the build has logged: after one that has not, it counts everything.
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


-- Logs what the rows of a temporary table change in the model, before they do. A
-- quarter that a valid record names is logged even where nobody was hired.
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


-- A build of everything: what was logged before it is in no order with it.
{% macro forget_hire_changes() %}
    {% do run_query('delete from ' ~ hire_changes()) %}
{% endmacro %}
