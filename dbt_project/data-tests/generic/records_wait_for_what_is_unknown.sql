-- A record that continues to wait for what is there would never be counted, and nobody
-- would look for it among those that rightly wait. One that is accepted without it
-- would be lost where it is joined.
{% test records_wait_for_what_is_unknown(model, table) %}

with

loads as (

    select * from {{ ref('loads') }}

),

in_scope as (

    select load_id
    from loads
    where {{ in_test_scope() }}

),

{% for parent in tables_referred_to_by(table) %}
{{ parent }} as not materialized (

    select * from {{ ref('checked_' ~ parent) }}

),

{% endfor %}
-- Not materialized: neither of the two questions is about all of them.
records as not materialized (

    select * from {{ model }}

)

select
    _load_id,
    _record,
    disposition
from records
where
    disposition = 'waiting'
    and {{ references_are_known(table, 'records') }}

union all

select
    _load_id,
    _record,
    disposition
from records
where
    disposition = 'accepted'
    and {{ is_of_load_in('in_scope', tests_only_new_loads()) }}
    and not ({{ references_are_known(table, 'records') }})

{% endtest %}
