with

checked as (

    {% for table in contract() %}
    select
        '{{ table }}' as table_name,
        _load_id,
        _record,
        disposition,
        reasons,
        delivered
    from {{ ref('checked_' ~ table) }}
    {% if not loop.last %}union all{% endif %}
    {% endfor %}
)

select * from checked
