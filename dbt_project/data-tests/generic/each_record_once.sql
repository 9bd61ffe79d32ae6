-- Every delivered record of a complete load is in the checked model, once: a
-- count alone would not see one record lost and another doubled.
{% test each_record_once(model, delivered) %}

with

checked as (

    select
        _load_id,
        _record,
        count(*) as times
    from {{ model }}
    group by _load_id, _record

),

delivered as (

    select
        raw_records._load_id,
        raw_records._record
    from {{ delivered }} as raw_records
    inner join {{ ref('loads') }} as loads
        on raw_records._load_id = loads.load_id

)

select
    _load_id,
    _record,
    checked.times
from checked
full join delivered using (_load_id, _record)
where checked.times is distinct from 1 or delivered._record is null

{% endtest %}
