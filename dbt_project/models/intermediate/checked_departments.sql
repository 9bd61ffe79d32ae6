with

loads as (

    select * from {{ ref('loads') }}

),

delivered as (

    select departments.*
    from {{ source('raw', 'departments') }} as departments
    inner join loads on departments._load_id = loads.load_id

),

typed as (

    select
        delivered.*,
        {{ as_identifier('id') }} as typed_id,
        {{ as_text('department') }} as typed_department
    from delivered

),

judged as (

    select
        _load_id,
        _record,
        typed_id as id,
        typed_department as department,
        {{ reasons([
            identifier_reason('id', 'typed_id'),
            text_reason('department', 'typed_department'),
        ]) }} as reasons,
        jsonb_build_object('id', id, 'department', department) as delivered
    from typed

),

ranked as (

    select
        judged.*,
        {{ recency() }} as recency
    from judged

),

final as (

    select
        _load_id,
        _record,
        id,
        department,
        reasons,
        case
            when reasons <> '[]' then 'rejected'
            when recency > 1 then 'superseded'
            else 'accepted'
        end as disposition,
        case when reasons <> '[]' then delivered end as delivered
    from ranked

)

select * from final
