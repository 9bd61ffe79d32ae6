-- Each rejected record as delivered, and whether it is open, corrected or dismissed.
with

{% for table in contract() %}
checked_{{ table }} as not materialized (

    select * from {{ ref('checked_' ~ table) }}

),

{% endfor %}
loads as (

    select
        *,
        case
            when key is not null
                then
                    lead(load_id) over (partition by bucket, key order by load_id)
        end as next_load_id
    from {{ ref('loads') }}

),

malformed as (

    select * from {{ source('raw', 'rejected_records') }}

),

invalid as (

    select * from {{ source('raw', 'invalid_records') }}

),

corrections as (

    select
        corrections.corrected_load_id as load_id,
        corrections.corrected_record as record,
        min(loads.load_id) as corrected_by_load_id,
        min(corrections.note) as note
    from {{ source('raw', 'corrections') }} as corrections
    left join loads on corrections.load_id = loads.load_id
    where corrections.note is not null or loads.load_id is not null
    group by corrections.corrected_load_id, corrections.corrected_record

),

{% for table in contract() %}
{% set key = columns_of(table) | selectattr('primary_key') | first %}
malformed_{{ table }} as (

    select
        malformed.load_id,
        malformed.record,
        malformed.reason,
        malformed.message,
        malformed.delivered,
        {{ typed(key, "(malformed.delivered ->> '" ~ key.name ~ "')") }} as id
    from malformed
    inner join loads on malformed.load_id = loads.load_id
    where loads.table_name = '{{ table }}'

),

{{ table }} as (

    select
        _load_id as load_id,
        _record as record,
        {{ key.value }} as key_value,
        reasons,
        null::text as message,
        delivered
    from checked_{{ table }}
    where disposition = 'rejected'
    union all
    select
        load_id,
        record,
        {{ in_range(key, 'id') }} as key_value,
        jsonb_build_array(reason) as reasons,
        message,
        delivered
    from malformed_{{ table }}

),

{% endfor %}
rejected as (

    {% for table in contract() %}
    {% set key = columns_of(table) | selectattr('primary_key') | first %}
    {% set texts = columns_of(table) | selectattr('type', 'equalto', 'string') | list %}
    select
        {{ table }}.load_id,
        {{ table }}.record,
        {{ table }}.reasons,
        {{ table }}.message,
        {{ table }}.delivered,
        later._load_id as later_load_id,
        {{ table }}.key_value::text as id,
        {% if texts %}
        {{ table }}.delivered ->> '{{ texts[0].name }}' as name
        {% else %}
        null::text as name
        {% endif %}
    from {{ table }}
    left join lateral (
        select records._load_id
        from checked_{{ table }} as records
        where
            records.{{ key.value }} = {{ table }}.key_value
            and records.reasons = '[]'
            and (records._load_id, records._record)
            > ({{ table }}.load_id, {{ table }}.record)
        order by records._load_id, records._record
        limit 1
    ) as later on true
    {% if not loop.last %}union all{% endif %}
    {% endfor %}
),

final as (

    select
        loads.table_name,
        loads.key as object,
        rejected.load_id,
        rejected.record,
        rejected.id,
        rejected.name,
        rejected.reasons,
        rejected.message,
        rejected.delivered,
        loads.completed_at as rejected_at,
        corrections.note,
        coalesce(malformed.line, invalid.line) as line,
        least(
            rejected.later_load_id,
            loads.next_load_id,
            corrections.corrected_by_load_id
        ) as corrected_by_load_id,
        case
            when
                num_nonnulls(
                    rejected.later_load_id,
                    loads.next_load_id,
                    corrections.corrected_by_load_id
                ) > 0
                then 'corrected'
            when corrections.note is not null then 'dismissed'
            else 'open'
        end as status
    from rejected
    inner join loads on rejected.load_id = loads.load_id
    left join malformed
        on
            rejected.load_id = malformed.load_id
            and rejected.record = malformed.record
    left join invalid
        on rejected.load_id = invalid.load_id and rejected.record = invalid.record
    left join corrections
        on
            rejected.load_id = corrections.load_id
            and rejected.record = corrections.record

)

select * from final
