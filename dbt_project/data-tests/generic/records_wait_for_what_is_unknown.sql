-- A record that still waits for a known id would never be counted, and nobody would
-- notice it among those that wait correctly. One that is accepted with an unknown id
-- would be lost in a join.
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
-- Not materialized, because neither of the two queries reads all of them.
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
