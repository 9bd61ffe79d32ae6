with

loads as (

    select * from {{ ref('loads') }}

),

delivered as (

    select jobs.*
    from {{ source('raw', 'jobs') }} as jobs
    inner join loads on jobs._load_id = loads.load_id

),

typed as (

    select
        delivered.*,
        {{ as_identifier('id') }} as typed_id,
        {{ as_text('job') }} as typed_job
    from delivered

),

judged as (

    select
        _load_id,
        _record,
        typed_id as id,
        typed_job as job,
        {{ reasons([
            identifier_reason('id', 'typed_id'),
            text_reason('job', 'typed_job'),
        ]) }} as reasons,
        jsonb_build_object('id', id, 'job', job) as delivered
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
        job,
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
