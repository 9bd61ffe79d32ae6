-- Built after the metrics, and only when they were: what is not listed here is
-- not in them yet.
-- depends_on: {{ ref('hires_by_quarter') }}
-- depends_on: {{ ref('departments_above_mean') }}
-- depends_on: {{ ref('rejected_records') }}
with

loads as (

    select * from {{ ref('loads') }}

),

final as (

    select
        load_id,
        table_name,
        completed_at
    from loads

)

select * from final
