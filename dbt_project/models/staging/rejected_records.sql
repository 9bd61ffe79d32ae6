-- One row per wrong field, and one per record that the loader could make no row of.
with

loads as (

    select * from {{ ref('loads') }}

),

refused as (

    select * from {{ source('raw', 'rejected_records') }}

),

checked as (

    select *
    from {{ ref('checked_records') }}
    where disposition = 'rejected'

),

fields as (

    select
        checked._load_id as load_id,
        checked._record as record,
        null::bigint as line,
        split_part(reason, ':', 1) as field,
        split_part(reason, ':', 2) as reason,
        checked.delivered ->> split_part(reason, ':', 1) as value
    from checked
    cross join lateral jsonb_array_elements_text(checked.reasons) as reason

),

records as (

    select
        load_id,
        record,
        line,
        null::text as field,
        reason,
        message as value
    from refused

),

rejected as (

    select * from fields
    union all
    select * from records

),

final as (

    select
        loads.table_name,
        loads.key as object,
        rejected.load_id,
        rejected.record,
        rejected.line,
        rejected.field,
        rejected.reason,
        rejected.value
    from rejected
    inner join loads on rejected.load_id = loads.load_id

)

select * from final
