-- An id that counts twice would be two people; an id without a counting record would be
-- nobody, although it was delivered and not withdrawn. If an earlier record of an id
-- counts, a correction has no effect.
{% test one_record_counts_an_id(model, id) %}

with

loads as (

    select * from {{ ref('loads') }}

),

in_scope as (

    select load_id
    from loads
    where {{ in_test_scope() }}

),

-- Not materialized, because most ids are not read.
valid as not materialized (

    select
        {{ id }},
        _load_id,
        disposition,
        -- A single number that sorts records in the order in which they replace others.
        (_load_id << 32) + _record as place
    from {{ model }}
    where reasons = '[]'

)

select
    {{ id }},
    count(*) filter (where disposition <> 'superseded') as counting,
    max(place) as latest,
    max(place) filter (where disposition <> 'superseded') as latest_counting
from valid
{% if tests_only_new_loads() %}
where
    {{ id }} in (
        select {{ id }}
        from valid
        where {{ is_of_load_in('in_scope', tests_only_new_loads()) }}
    )
{% endif %}
group by {{ id }}
having
    count(*) filter (where disposition <> 'superseded') <> 1
    or max(place) <> max(place) filter (where disposition <> 'superseded')

{% endtest %}
