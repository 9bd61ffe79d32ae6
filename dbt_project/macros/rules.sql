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


-- A field's value as an integer from 1 to 2147483647, null when it is none.
-- Postgres would take more than digits for an integer: 0x1F, 1_000.
{% macro as_identifier(field) %}
    case
        when
            {{ field }} ~ '^[ \t\n\r\x0b\f]*[+]?[0-9]+[ \t\n\r\x0b\f]*$'
            and pg_input_is_valid({{ field }}, 'integer')
            then nullif({{ field }}::integer, 0)
    end
{% endmacro %}


-- A field's value as a point in time, null when it is not ISO 8601 or no day of
-- the calendar. Without an offset it is UTC, whatever the session's time zone.
-- Digits beyond microseconds are cut off: rounded up they could reach another
-- year.
{% macro as_timestamp(field) %}
    case
        when
            {{ field }} ~ (
                '^[ \t\n\r\x0b\f]*[0-9]{4}-[0-9]{2}-[0-9]{2}'
                || '([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?'
                || '(Z|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)?)?[ \t\n\r\x0b\f]*$'
            )
            and pg_input_is_valid({{ field }}, 'timestamptz')
            then
                case
                    when length({{ field }}) = 20 and right({{ field }}, 1) = 'Z'
                        then {{ field }}::timestamptz
                    else (
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


-- Whether a point in time is in the years 1900 to 2100.
{% macro is_in_range(moment) %}
    coalesce(
        {{ moment }} >= '1900-01-01 00:00Z'
        and {{ moment }} < '2101-01-01 00:00Z',
        false
    )
{% endmacro %}


-- What is wrong with a field, as 'field:reason'; null when nothing is. `value` is
-- what as_text, as_identifier or as_timestamp made of what was delivered.
{% macro text_reason(field, value) %}
    case when {{ value }} is null then '{{ field }}:missing' end
{% endmacro %}


{% macro identifier_reason(field, delivered, value) %}
    case
        when {{ value }} is not null then null
        when {{ as_text(delivered) }} is null then '{{ field }}:missing'
        when {{ trimmed(delivered) }} ~ '^[+-]?[0-9]+$' then '{{ field }}:out_of_range'
        else '{{ field }}:not_an_integer'
    end
{% endmacro %}


{% macro timestamp_reason(field, delivered, value) %}
    case
        when {{ as_text(delivered) }} is null then '{{ field }}:missing'
        when {{ value }} is null then '{{ field }}:not_a_datetime'
        when not {{ is_in_range(value) }} then '{{ field }}:out_of_range'
    end
{% endmacro %}


-- The reasons of a record out of those of its fields, as a JSON array: rows of a
-- unit test cannot hold any other. `valid` holds where there is none, which spares
-- nearly every record the search for them.
{% macro reasons(valid, field_reasons) %}
    case
        when {{ valid }} then '[]'::jsonb
        else to_jsonb(
            array_remove(array[{{ field_reasons | join(', ') }}]::text[], null)
        )
    end
{% endmacro %}


-- What becomes of a record, apart from what its table adds with `otherwise`: of the
-- valid records of one id, the latest counts, by load, then by record.
{% macro disposition(otherwise) %}
    case
        when reasons <> '[]' then 'rejected'
        when
            row_number() over (
                partition by id, reasons = '[]'
                order by _load_id desc, _record desc
            ) > 1
            then 'superseded'
        else {{ otherwise }}
    end
{% endmacro %}
