-- A record lost between raw and this model would be missing from the metrics without
-- any other symptom; one under another record's number would count twice or with the
-- wrong fields. A count would detect neither. Values are compared with the delivered
-- text independently of the rules.
{% test each_record_once(model, table) %}

{% set same = [] %}
{% for column in columns_of(table) %}
    {% set value, field = 'checked.' ~ column.value, 'raw.' ~ column.name %}
    {% if column.type == 'string' %}
        {% set condition = 'strpos(' ~ field ~ ', ' ~ value ~ ') > 0' %}
    {% elif column.type == 'timestamp' %}
        {# An offset shifts a timestamp by less than a day, in either direction. Without
           an offset the day is the same text, which is faster to compare. #}
        {% set day = '(' ~ value ~ " at time zone 'UTC')::date" %}
        {% set condition = '(left(' ~ field ~ ', 10) = ' ~ day ~ '::text or '
            ~ day ~ ' - left(' ~ trimmed(field) ~ ', 10)::date between -1 and 1)' %}
        {% if column.formats %}
            {# All declared formats contain the year with four digits. #}
            {% set condition = 'case when ' ~ trimmed(field)
                ~ " ~ '^[0-9]{4}(-[0-9]{2}){2}' then " ~ condition
                ~ ' else strpos(' ~ field ~ ", to_char(" ~ value
                ~ " at time zone 'UTC', 'YYYY')) > 0 end" %}
        {% endif %}
    {% else %}
        {# As text first, which is faster; otherwise as a number, because 8.0 equals 8.
           An integer may have more zeros after its point than a numeric can. #}
        {% set number = trimmed(field) %}
        {% if column.type == 'integer' %}
            {% set number = 'regexp_replace(' ~ number ~ ", '[.]0+$', '')" %}
        {% endif %}
        {% set condition = '(' ~ value ~ '::text = ' ~ field ~ ' or ' ~ value ~ ' = '
            ~ number ~ '::numeric)' %}
    {% endif %}
    {% do same.append(
        condition if column.required
        else 'case when ' ~ is_missing(column, field) ~ ' then ' ~ value ~ ' is null else '
        ~ condition ~ ' end'
    ) %}
{% endfor %}
{% for column in columns_of(table) if column.type == 'timestamp' %}
    {% set moment = 'checked.' ~ column.value %}
    {% set in_utc = moment ~ " at time zone 'UTC')" %}
    {% set stem = moment.removesuffix('_at') %}
    {% do same.append(
        moment ~ ' is null or ' ~ stem ~ "_year = date_part('year', " ~ in_utc
    ) %}
    {% do same.append(
        moment ~ ' is null or ' ~ stem ~ "_quarter = ceil(date_part('month', "
        ~ in_utc ~ ' / 3)'
    ) %}
    {% do same.append(
        moment ~ ' is null or ' ~ stem ~ "_month = date_part('month', " ~ in_utc
    ) %}
{% endfor %}

with

loads as (

    select * from {{ ref('loads') }}

),

-- Not materialized, so that several processes can scan both tables.
in_scope as not materialized (

    select load_id
    from loads
    where {{ in_test_scope() }}

),

raw as (

    select *
    from {{ source('raw', table) }}
    where {{ is_of_load_in('in_scope', tests_only_new_loads()) }}

),

checked as (

    select *
    from {{ model }}
    where {{ is_of_load_in('in_scope', tests_only_new_loads()) }}

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
