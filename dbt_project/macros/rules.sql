-- The data rules of each logical type, each written once; contracts/rules.py has the
-- same in Python. `column` is a column of contract(), `field` is SQL for what was
-- delivered in it: text, null where nothing was. `value` is SQL for what typed() made
-- of the field.

-- White space around a value does not count.
{% macro trimmed(field) %}
    btrim({{ field }}, e' \t\n\r\x0b\f')
{% endmacro %}


-- A field's text, null when it is missing.
{% macro as_text(field) %}
    nullif({{ trimmed(field) }}, '')
{% endmacro %}


-- A field's value in the type of its column, null when it has none. Whether that is
-- in range is not asked here.
{% macro typed(column, field) %}
    {% if column.type == 'string' %}
    {{ as_text(field) }}
    {% elif column.type == 'timestamp' %}
    {{ as_timestamp(field) }}
    {% else %}
    {{ as_number(field, digits(column), sql_type(column)) }}
    {% endif %}
{% endmacro %}


-- The type of the values of a column of numbers: the smallest that holds them all.
{% macro sql_type(column) %}
    {% set low, high = column.minimum, column.maximum %}
    {% if column.type != 'integer' or low is none or high is none %}
        {{ return('numeric') }}
    {% elif low >= -2147483648 and high <= 2147483647 %}
        {{ return('integer') }}
    {% elif low >= -9223372036854775808 and high <= 9223372036854775807 %}
        {{ return('bigint') }}
    {% endif %}
    {{ return('numeric') }}
{% endmacro %}


-- How a number is written. Postgres would take more than that: 0x1F, 1_000, 1e3, NaN.
{% macro digits(column) %}
    {{ return(
        '[+-]?[0-9]+' if column.type == 'integer'
        else '[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)'
    ) }}
{% endmacro %}


{% macro as_number(field, digits, type) %}
    case
        when
            {{ field }} ~ '^[ \t\n\r\x0b\f]*{{ digits }}[ \t\n\r\x0b\f]*$'
            and pg_input_is_valid({{ field }}, '{{ type }}')
            then {{ field }}::{{ type }}
    end
{% endmacro %}


-- A point in time, null when it is not ISO 8601 or no day of the calendar. Without an
-- offset it is UTC, whatever the session's time zone. Digits beyond microseconds are
-- cut off: rounded up they could reach another year.
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


-- The conditions, beyond its type, under which a value is in the range of its column.
{% macro bounds(column, value) %}
    {% set conditions = [] %}
    {% set limits = {
        'integer': (-2147483648, 2147483647),
        'bigint': (-9223372036854775808, 9223372036854775807),
    }.get(sql_type(column), (none, none)) %}
    {% set is_moment = column.type == 'timestamp' %}
    {% set quote = "'" if is_moment else '' %}
    {% if column.minimum is not none and column.minimum != limits[0] %}
        {% do conditions.append(value ~ ' >= ' ~ quote ~ column.minimum ~ quote) %}
    {% endif %}
    {% if column.maximum is not none and column.maximum != limits[1] %}
        {% set operator = ' < ' if is_moment else ' <= ' %}
        {% do conditions.append(value ~ operator ~ quote ~ column.maximum ~ quote) %}
    {% endif %}
    {{ return(conditions) }}
{% endmacro %}


-- Whether a value is there and in range; null or false when it is not.
{% macro is_in_range(column, value) %}
    {{ return(
        bounds(column, value) | join(' and ') or value ~ ' is not null'
    ) }}
{% endmacro %}


-- A value, null when it is out of range.
{% macro in_range(column, value) %}
    {% set conditions = bounds(column, value) %}
    {{ return(
        'case when ' ~ conditions | join(' and ') ~ ' then ' ~ value ~ ' end'
        if conditions else value
    ) }}
{% endmacro %}


-- Whether nothing is wrong with a field; null or false when something is.
{% macro is_valid(column, field, value) %}
    {% if column.required %}
        {{ return(is_in_range(column, value)) }}
    {% elif column.type == 'string' %}
        {{ return('true') }}
    {% endif %}
    {{ return(
        '(' ~ is_in_range(column, value) ~ ' or ' ~ as_text(field) ~ ' is null)'
    ) }}
{% endmacro %}


-- What is wrong with a field, as 'field:reason'; null when nothing is.
{% macro reason(column, field, value) %}
    case
        when {{ is_valid(column, field, value) }} then null
        {% if column.required %}
        when {{ as_text(field) }} is null then '{{ column.name }}:missing'
        {% endif %}
        {% if column.type == 'timestamp' %}
        when {{ value }} is null then '{{ column.name }}:not_a_datetime'
        {% elif column.type in ('integer', 'number') %}
        when {{ trimmed(field) }} !~ '^{{ digits(column) }}$'
            then '{{ column.name }}:{{
                'not_an_integer' if column.type == 'integer' else 'not_a_number'
            }}'
        {% endif %}
        else '{{ column.name }}:out_of_range'
    end
{% endmacro %}
