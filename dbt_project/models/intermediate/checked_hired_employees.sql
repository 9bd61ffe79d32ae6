with

loads as (

    select * from {{ ref('loads') }}

),

departments as (

    select * from {{ ref('departments') }}

),

jobs as (

    select * from {{ ref('jobs') }}

),

delivered as (

    select hired_employees.*
    from {{ source('raw', 'hired_employees') }} as hired_employees
    inner join loads on hired_employees._load_id = loads.load_id

),

typed as (

    select
        delivered.*,
        {{ as_identifier('id') }} as typed_id,
        {{ as_text('name') }} as typed_name,
        {{ as_timestamp('datetime') }} as hired_at,
        {{ as_identifier('department_id') }} as typed_department_id,
        {{ as_identifier('job_id') }} as typed_job_id
    from delivered

),

judged as (

    select
        _load_id,
        _record,
        typed_id as id,
        typed_name as name,
        hired_at,
        typed_department_id as department_id,
        typed_job_id as job_id,
        {{ reasons([
            identifier_reason('id', 'typed_id'),
            text_reason('name', 'typed_name'),
            timestamp_reason('datetime', 'hired_at'),
            identifier_reason('department_id', 'typed_department_id'),
            identifier_reason('job_id', 'typed_job_id'),
        ]) }} as reasons,
        jsonb_build_object(
            'id', id,
            'name', name,
            'datetime', datetime,
            'department_id', department_id,
            'job_id', job_id
        ) as delivered
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
        ranked._load_id,
        ranked._record,
        ranked.id,
        ranked.name,
        ranked.hired_at,
        ranked.department_id,
        ranked.job_id,
        ranked.reasons,
        case
            when ranked.reasons <> '[]' then 'rejected'
            when ranked.recency > 1 then 'superseded'
            when departments.id is null or jobs.id is null then 'waiting'
            else 'accepted'
        end as disposition,
        case when ranked.reasons <> '[]' then ranked.delivered end as delivered
    from ranked
    left join departments on ranked.department_id = departments.id
    left join jobs on ranked.job_id = jobs.id

)

select * from final
