-- Shown with every metric: which records it does not include, and its last load.
with

records as (

    select * from {{ ref('checked_records') }}

),

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

    select
        table_name,
        count(*) filter (where disposition = 'waiting')::integer as waiting,
        count(*) filter (where disposition = 'withdrawn')::integer as withdrawn
    from records
    where disposition in ('waiting', 'withdrawn')
    group by table_name

),

tables as (

    {% for table in contract() %}
    select '{{ table }}' as table_name
    {% if not loop.last %}union all{% endif %}
    {% endfor %}
),

final as (

    select
        tables.table_name,
        shown.last_load_id,
        shown.last_completed_at,
        coalesce(not_counted.waiting, 0) as waiting,
        coalesce(not_counted.withdrawn, 0) as withdrawn,
        coalesce(shown.loads, 0)::integer as loads,
        coalesce(rejected.open_records, 0)::integer as open_records
    from tables
    left join shown on tables.table_name = shown.table_name
    left join rejected on tables.table_name = rejected.table_name
    left join not_counted on tables.table_name = not_counted.table_name

)

select * from final
