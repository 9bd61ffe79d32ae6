-- One row per reason: a record with two wrong fields has two rows.
with

records as (

    select * from {{ ref('rejected_records') }}

),

reasons as (

    select
        records.*,
        case when records.message is null then split_part(reasons.reason, ':', 1) end
            as field,
        case
            when records.message is null then split_part(reasons.reason, ':', 2)
            else reasons.reason
        end as reason
    from records
    cross join lateral jsonb_array_elements_text(records.reasons) as reasons (reason)

),

final as (

    select
        table_name,
        object,
        load_id,
        record,
        line,
        status,
        field,
        reason,
        case when field is null then message else delivered ->> field end as value
    from reasons

)

select * from final
