-- The data rules on single fields, each written once. `field` is a column of a
-- raw table: text as it was delivered, null where nothing was.

-- White space around a value does not count.
{% macro trimmed(field) %}
    btrim({{ field }}, e' \t\n\r\x0b\f')
{% endmacro %}


-- A field's value, null when it is missing.
{% macro as_text(field) %}
    nullif({{ trimmed(field) }}, '')
{% endmacro %}


-- A field's value as an integer from 1 to 2147483647, null when it is none. The
-- digits are counted before the cast, which could overflow.
{% macro as_identifier(field) %}
    case
        when {{ trimmed(field) }} ~ '^[+]?0*[1-9][0-9]{0,9}$'
            then
                case
                    when {{ trimmed(field) }}::bigint <= 2147483647
                        then {{ trimmed(field) }}::integer
                end
    end
{% endmacro %}


-- A field's value as a point in time, null when it is not ISO 8601 or no day of
-- the calendar. Without an offset it is UTC, whatever the session's time zone.
-- Digits beyond microseconds are cut off: rounded up they could reach another
-- year.
{% macro as_timestamp(field) %}
    case
        when
            {{ trimmed(field) }} ~ (
                '^[0-9]{4}-[0-9]{2}-[0-9]{2}'
                || '([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?'
                || '(Z|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)?)?$'
            )
            then
                case
                    when pg_input_is_valid({{ trimmed(field) }}, 'timestamptz')
                        then (
                            regexp_replace(
                                {{ trimmed(field) }}, '([.][0-9]{6})[0-9]+', '\1'
                            )
                            || case
                                when {{ trimmed(field) }} ~ '[T ].*[Z+-]' then ''
                                when {{ trimmed(field) }} ~ '[T ]' then 'Z'
                                else ' 00:00Z'
                            end
                        )::timestamptz
                end
    end
{% endmacro %}


-- What is wrong with a field, as 'field:reason'; null when nothing is. `value`
-- is what as_text, as_identifier or as_timestamp made of it.
{% macro text_reason(field, value) %}
    case when {{ value }} is null then '{{ field }}:missing' end
{% endmacro %}


{% macro identifier_reason(field, value) %}
    case
        when {{ value }} is not null then null
        when {{ as_text(field) }} is null then '{{ field }}:missing'
        when {{ trimmed(field) }} ~ '^[+-]?[0-9]+$' then '{{ field }}:out_of_range'
        else '{{ field }}:not_an_integer'
    end
{% endmacro %}


{% macro timestamp_reason(field, value) %}
    case
        when {{ as_text(field) }} is null then '{{ field }}:missing'
        when {{ value }} is null then '{{ field }}:not_a_datetime'
        when {{ value }} < '1900-01-01 00:00Z' then '{{ field }}:out_of_range'
        when {{ value }} >= '2101-01-01 00:00Z' then '{{ field }}:out_of_range'
    end
{% endmacro %}


-- The reasons of a record out of those of its fields, as a JSON array: rows of a
-- unit test cannot hold any other.
{% macro reasons(field_reasons) %}
    to_jsonb(
        array_remove(array[{{ field_reasons | join(', ') }}]::text[], null)
    )
{% endmacro %}


-- Which of the valid records of one id counts: 1 is the latest, by load, then by
-- record. A record with reasons takes no part.
{% macro recency() %}
    case
        when reasons = '[]'
            then row_number() over (
                partition by reasons = '[]', id
                order by _load_id desc, _record desc
            )
    end
{% endmacro %}
