-- A record that is withdrawn although the newest object of its table has its id would
-- be missing from every metric; one that counts although the object lacks its id would
-- never be withdrawn.
{% test withdrawn_records_are_not_delivered(model, table) %}

{% set key = key_of(table) %}

with

loads as (

    select * from {{ ref('loads') }}

),

snapshot as (

    select max(load_id) as load_id
    from loads
    where
        table_name = '{{ table }}' and source = 'object' and is_correction is not true

),

records as (

    select
        *,
        coalesce(
            _load_id < (select snapshot.load_id from snapshot), false
        ) as is_before_snapshot
    from {{ model }}
    where reasons = '[]' and disposition <> 'superseded'

),

in_snapshot as (

    select {{ key }}
    from {{ model }}
    where _load_id = (select snapshot.load_id from snapshot)
    union all
    {{ malformed_keys(table) }}

)

select
    _load_id,
    _record,
    disposition
from records
where
    (disposition = 'withdrawn') <> (
        is_before_snapshot
        and {{ key }} not in (
            select in_snapshot.{{ key }}
            from in_snapshot
            where in_snapshot.{{ key }} is not null
        )
    )

{% endtest %}
