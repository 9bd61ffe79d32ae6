-- A record lost between raw and here would be missing from the metrics without
-- anything else looking wrong; one under another's number would count twice or with
-- the other's fields. A count would see none of them. `same` says what a record
-- that is not rejected has in common with what was delivered.
{% test each_record_once(model, delivered, same) %}

with

loads as (

    select * from {{ ref('loads') }}

),

in_question as (

    select load_id
    from loads
    where {{ is_in_question() }}

),

raw as (

    select *
    from {{ delivered }}
    where {{ is_of_load_in('in_question', asks_of_new_loads()) }}

),

checked as (

    select *
    from {{ model }}
    where {{ is_of_load_in('in_question', asks_of_new_loads()) }}

)

select
    _load_id,
    _record,
    raw._load_id is not null as is_delivered,
    checked.disposition
from raw
full join checked using (_load_id, _record)
where
    raw._load_id is null
    or checked.disposition is null
    or case
        when checked.disposition <> 'rejected'
            then
                ({{ same | join(') is not true or (') }}) is not true
        else checked.reasons = '[]'
    end

{% endtest %}
