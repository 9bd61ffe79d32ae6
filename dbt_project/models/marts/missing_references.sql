-- The unknown ids that valid records wait for.
with

{% for table in contract() %}
checked_{{ table }} as not materialized (

    select * from {{ ref('checked_' ~ table) }}

),

{% endfor %}
loads as (

    select * from {{ ref('loads') }}

),

missing as (

    {% for table in contract() %}
    {% for column in columns_of(table) if column.table %}
    select
        '{{ table }}' as table_name,
        '{{ column.name }}' as column_name,
        '{{ column.table }}' as missing_from,
        records.{{ column.value }} as id,
        records._load_id as load_id
    from checked_{{ table }} as records
    where
        records.disposition = 'waiting'
        and records.{{ column.value }} is not null
        and not exists (
            select 1 from checked_{{ column.table }} as counted
            where
                counted.{{ column.key }} = records.{{ column.value }}
                and counted.disposition = 'accepted'
        )
    union all
    {% endfor %}
    {% endfor %}
    select
        null::text,
        null::text,
        null::text,
        null::integer,
        null::bigint
    where false

),

final as (

    select
        missing.table_name,
        missing.column_name,
        missing.missing_from,
        missing.id::text as id,
        count(*)::integer as waiting,
        min(loads.completed_at) as waiting_since
    from missing
    inner join loads on missing.load_id = loads.load_id
    group by
        missing.table_name, missing.column_name, missing.missing_from, missing.id

)

select * from final
