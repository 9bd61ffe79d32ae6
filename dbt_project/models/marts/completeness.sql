-- What every number is shown with: what it leaves out, and the last load it includes.
with

{% for table in contract() %}
checked_{{ table }} as not materialized (

    select * from {{ ref('checked_' ~ table) }}

),

{% endfor %}
loads as (

    select * from {{ ref('loads') }}

),

rejected_records as (

    select * from {{ ref('rejected_records') }}

),

shown as (

    select
        table_name,
        count(*) as loads,
        max(load_id) as last_load_id,
        max(completed_at) as last_completed_at
    from loads
    group by table_name

),

rejected as (

    select
        table_name,
        count(*) as open_records
    from rejected_records
    where status = 'open'
    group by table_name

),

not_counted as (

    {% for table in contract() %}
    select
        '{{ table }}' as table_name,
        count(*) filter (where disposition = 'waiting')::integer as waiting,
        count(*) filter (where disposition = 'withdrawn')::integer as withdrawn
    from checked_{{ table }}
    where disposition in ('waiting', 'withdrawn')
    {% if not loop.last %}union all{% endif %}
    {% endfor %}
),

final as (

    select
        not_counted.table_name,
        shown.last_load_id,
        shown.last_completed_at,
        not_counted.waiting,
        not_counted.withdrawn,
        coalesce(shown.loads, 0)::integer as loads,
        coalesce(rejected.open_records, 0)::integer as open_records
    from not_counted
    left join shown on not_counted.table_name = shown.table_name
    left join rejected on not_counted.table_name = rejected.table_name

)

select * from final
