-- The checked model of a raw table that gives a name to each id: departments, jobs.
{% macro checked_names(table, name) %}
with

loads as (

    select * from {{ ref('loads') }}

),

to_judge as (

    {{ loads_to_judge(table) }}

),

delivered as (

    select *
    from {{ source('raw', table) }}
    where {{ is_of_load_in('to_judge', is_incremental()) }}

),

-- Kept apart from what uses it, as is judged (offset): an expression that is used
-- twice would be computed twice, and all of a record be sorted.
typed as (

    select
        _load_id,
        _record,
        {{ as_identifier('id') }} as id,
        {{ as_text(name) }} as {{ name }},
        id as delivered_id,
        {{ name }} as delivered_{{ name }}
    from delivered
    offset 0

),

judged as (

    select
        _load_id,
        _record,
        id,
        {{ name }},
        {{ reasons(
            'num_nulls(id, ' ~ name ~ ') = 0',
            [
                identifier_reason('id', 'delivered_id', 'id'),
                text_reason(name, name),
            ]
        ) }} as reasons,
        case
            when num_nulls(id, {{ name }}) > 0
                then jsonb_build_object(
                    'id', delivered_id, '{{ name }}', delivered_{{ name }}
                )
        end as delivered
    from typed
    offset 0

),

{% if is_incremental() %}
same_ids as (

    select
        _load_id,
        _record,
        id,
        {{ name }},
        reasons,
        delivered
    from {{ this }}
    where
        reasons = '[]'
        and id in (select id from judged where reasons = '[]')
        and _load_id not in (select load_id from to_judge)

),

{% endif %}
candidates as (

    select * from judged
    {% if is_incremental() %}
    union all
    select * from same_ids
    {% endif %}
),

final as (

    select
        _load_id,
        _record,
        id,
        {{ name }},
        reasons,
        {{ disposition("'accepted'") }} as disposition,
        delivered,
        {{ this_build() }} as _build
    from candidates

)

select * from final
{% endmacro %}
