{{ config(
    unique_key=['_load_id', '_record'],
    pre_hook="select raw.summarize_new_records('hired_employees')",
    meta={
        'feeds': ['loads', 'checked_departments', 'checked_jobs'],
        'indexes': [
            '(id)',
            "(department_id) where disposition = 'waiting'",
            "(job_id) where disposition = 'waiting'",
            "(department_id, job_id, hired_year, hired_quarter)"
            ~ " where disposition = 'accepted'",
            "(_load_id) where disposition = 'rejected'",
            '(_build) where _build > 1',
        ],
    },
) }}

{% set is_valid %}
num_nulls(id, name, department_id, job_id) = 0 and {{ is_in_range('hired_at') }}
{% endset %}

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

to_judge as (

    {{ loads_to_judge('hired_employees') }}

),

delivered as (

    select *
    from {{ source('raw', 'hired_employees') }}
    where {{ is_of_load_in('to_judge', is_incremental()) }}

),

-- Kept apart from what uses it, as is judged (offset, which skips nothing and needs
-- no order): an expression that is used twice would be computed twice, and all of a
-- record be sorted.
typed as (

    select
        _load_id,
        _record,
        {{ as_identifier('id') }} as id,
        {{ as_text('name') }} as name,
        {{ as_timestamp('datetime') }} as hired_at,
        {{ as_identifier('department_id') }} as department_id,
        {{ as_identifier('job_id') }} as job_id,
        id as delivered_id,
        name as delivered_name,
        datetime as delivered_datetime,
        department_id as delivered_department_id,
        job_id as delivered_job_id
    from delivered
    offset 0 -- noqa: AM09

),

judged as (

    select
        _load_id,
        _record,
        id,
        name,
        hired_at,
        department_id,
        job_id,
        -- Of the UTC calendar, not of the time zone that a session happens to have.
        extract(year from hired_at at time zone 'UTC')::integer as hired_year,
        extract(quarter from hired_at at time zone 'UTC')::integer as hired_quarter,
        {{ reasons(
            is_valid,
            [
                identifier_reason('id', 'delivered_id', 'id'),
                text_reason('name', 'name'),
                timestamp_reason('datetime', 'delivered_datetime', 'hired_at'),
                identifier_reason(
                    'department_id', 'delivered_department_id', 'department_id'
                ),
                identifier_reason('job_id', 'delivered_job_id', 'job_id'),
            ]
        ) }} as reasons,
        case
            when {{ is_valid }} then null
            else jsonb_build_object(
                'id', delivered_id,
                'name', delivered_name,
                'datetime', delivered_datetime,
                'department_id', delivered_department_id,
                'job_id', delivered_job_id
            )
        end as delivered
    from typed
    offset 0 -- noqa: AM09

),

{% if is_incremental() %}
-- The other records of the same ids, and what has waited for a department or job that
-- is new; twice, where it is both, which union mends.
{% set reconsidered = [
    "id in (select id from judged where reasons = '[]') and reasons = '[]'",
    "department_id in (select id from departments where "
    ~ has_changed('departments', 'checked_departments') ~ ")"
    ~ " and disposition = 'waiting'",
    "job_id in (select id from jobs where "
    ~ has_changed('jobs', 'checked_jobs') ~ ")"
    ~ " and disposition = 'waiting'",
] %}
reconsidered as (

    {% for condition in reconsidered %}
    select
        _load_id,
        _record,
        id,
        name,
        hired_at,
        department_id,
        job_id,
        hired_year,
        hired_quarter,
        reasons,
        delivered
    from {{ this }}
    where
        {{ condition }}
        and _load_id not in (select to_judge.load_id from to_judge)
    {% if not loop.last %}union{% endif %}
    {% endfor %}
),

{% endif %}
candidates as (

    select * from judged
    {% if is_incremental() %}
    union all
    select * from reconsidered
    {% endif %}
),

final as (

    select
        _load_id,
        _record,
        id,
        name,
        hired_at,
        department_id,
        job_id,
        hired_year,
        hired_quarter,
        reasons,
        {{ disposition(
            "case when department_id in (select id from departments)"
            ~ " and job_id in (select id from jobs)"
            ~ " then 'accepted' else 'waiting' end"
        ) }} as disposition,
        delivered,
        {{ this_build() }} as _build
    from candidates

)

select * from final
