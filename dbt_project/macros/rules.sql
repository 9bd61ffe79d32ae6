-- The rules of each logical type in SQL; contracts/rules.py has the same rules in
-- Python, and tests compare the two. `column` is a column of contract(). `field` is SQL
-- for its delivered text, null if it was not delivered. `value` is SQL for the result
-- of typed() for the field.

-- Strips white space of ASCII and Unicode including no-break spaces, zero-width
-- characters and byte order marks from the ends of a value.
{% macro trimmed(field) %}
    btrim(
        {{ field }},
        e' \t\n\r\x0b\f\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006'
        || e'\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000'
        || e'\ufeff'
    )
{% endmacro %}


-- A field's text, null if it is missing.
{% macro as_text(field) %}
    nullif({{ trimmed(field) }}, '')
{% endmacro %}


-- Whether a field is empty or, unless its column is text, a word that tools write for a
-- missing value.
{% macro is_missing(column, field) %}
    {% if column.type == 'string' %}
    {{ as_text(field) }} is null
    {% else %}
    coalesce(upper({{ trimmed(field) }}) in ('', 'NULL', '\N', 'NAN', 'N/A', 'NA'), true)
    {% endif %}
{% endmacro %}


-- A field's value in the type of its column, null if it has none. Its range is not
-- checked here.
{% macro typed(column, field) %}
    {% if column.type == 'string' %}
    {{ as_text(field) }}
    {% elif column.type == 'timestamp' %}
    {{ as_timestamp(field, column.formats) }}
    {% else %}
    {{ as_number(column, field) }}
    {% endif %}
{% endmacro %}


-- The smallest type for all values of a numeric column.
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


-- The pattern of a number. Postgres would also accept 0x1F, 1_000, 1e3 and NaN. An
-- integer may have a point and zeros, as written by tools that store it as a float.
{% macro digits(column) %}
    {{ return(
        '[+-]?[0-9]+([.]0+)?' if column.type == 'integer'
        else '[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)'
    ) }}
{% endmacro %}


{% macro as_number(column, field) %}
    {% set type = sql_type(column) %}
    {% set number = trimmed(field) %}
    {% if column.type == 'integer' %}
        {% set number = 'split_part(' ~ number ~ ", '.', 1)" %}
    {% endif %}
    case
        {% if type != 'numeric' %}
        -- Nearly all numbers are in Postgres's notation: this takes a third of the
        -- time.
        when
            pg_input_is_valid({{ field }}, '{{ type }}')
            and {{ field }}::{{ type }}::text = {{ field }}
            then {{ field }}::{{ type }}
        {% endif %}
        when
            {{ trimmed(field) }} ~ '^{{ digits(column) }}$'
            and pg_input_is_valid({{ number }}, '{{ type }}')
            then {{ number }}::{{ type }}
    end
{% endmacro %}


-- A timestamp, null if it matches neither ISO 8601 nor a format of its column, or is
-- not a day of the calendar. Without an offset it is in UTC, regardless of the
-- session's time zone. Digits beyond microseconds are truncated: rounding up could
-- change the year.
{% macro as_timestamp(field, formats=[]) %}
    case
        -- Nearly all timestamps are in this form, which does not depend on the
        -- session's settings: this takes two thirds of the time.
        when
            {{ field }} like '____-__-__T__:__:__Z'
            and pg_input_is_valid({{ field }}, 'timestamp')
            and to_json({{ field }}::timestamp)::text
            = '"' || left({{ field }}, 19) || '"'
            then {{ field }}::timestamptz
        when
            {{ trimmed(field) }} ~ (
                '^[0-9]{4}-[0-9]{2}-[0-9]{2}'
                || '([Tt ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?'
                || '( ?([Zz]|[Uu][Tt][Cc]|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?))?)?$'
            )
            and pg_input_is_valid({{ trimmed(field) }}, 'timestamptz')
            then (
                case
                    when length({{ trimmed(field) }}) = 10
                        then {{ trimmed(field) }} || ' 00:00Z'
                    else
                        regexp_replace({{ trimmed(field) }}, '([.][0-9]{6})[0-9]+', '\1')
                        -- The offset follows hours and minutes.
                        || case
                            when substr({{ trimmed(field) }}, 17) ~ '[ZzCc+-]' then ''
                            else 'Z'
                        end
                end
            )::timestamptz
        {% for format in formats %}
        {% set moment = as_iso_8601(trimmed(field), format) %}
        when pg_input_is_valid({{ moment }}, 'timestamptz')
            then {{ moment }}::timestamptz
        {% endfor %}
    end
{% endmacro %}


-- Converts a text in a format of the contract to ISO 8601, null if it does not match.
-- Day, month and hour may have one digit if they are not next to another directive.
{% macro as_iso_8601(text, format) %}
    {% set groups = [] %}
    {% set pattern = [] %}
    {% for token in modules.re.findall('%.|.', format) %}
        {% set adjoins = '%' in (loop.previtem or '') ~ (loop.nextitem or '') %}
        {% set digits = {
            '%d': '[0-9]{2}' if adjoins else '[0-9]{1,2}',
            '%m': '[0-9]{2}' if adjoins else '[0-9]{1,2}',
            '%Y': '[0-9]{4}',
            '%H': ('[01][0-9]' if adjoins else '[01]?[0-9]') ~ '|2[0-3]',
            '%M': '[0-5][0-9]',
            '%S': '[0-5][0-9]',
        }.get(token) %}
        {% do pattern.append('(' ~ digits ~ ')' if digits else '[' ~ token ~ ']') %}
        {% do groups.append(token) if digits %}
    {% endfor %}
    {% set parts = [] %}
    {% for part in ('%Y-', '%m-', '%d ', '%H:', '%M:', '%S') %}
        {% set group = part[:2] %}
        {% do parts.append(
            ('\\' ~ (groups.index(group) + 1) if group in groups else '00') ~ part[2:]
        ) %}
    {% endfor %}
    {% set pattern = "'^" ~ pattern | join ~ "$'" %}
    {{ return(
        'case when ' ~ text ~ ' ~ ' ~ pattern ~ ' then regexp_replace(' ~ text ~ ', '
        ~ pattern ~ ", '" ~ parts | join ~ "Z') end"
    ) }}
{% endmacro %}


-- The conditions for a value to be in its column's range, beyond those of its type.
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


-- Whether a value is present and in range; null or false if not.
{% macro is_in_range(column, value) %}
    {{ return(
        bounds(column, value) | join(' and ') or value ~ ' is not null'
    ) }}
{% endmacro %}


-- A value, null if it is out of range.
{% macro in_range(column, value) %}
    {% set conditions = bounds(column, value) %}
    {{ return(
        'case when ' ~ conditions | join(' and ') ~ ' then ' ~ value ~ ' end'
        if conditions else value
    ) }}
{% endmacro %}


-- Whether a field is valid; null or false if not.
{% macro is_valid(column, field, value) %}
    {% if column.required %}
        {{ return(is_in_range(column, value)) }}
    {% elif column.type == 'string' %}
        {{ return('true') }}
    {% endif %}
    {{ return(
        '(' ~ is_in_range(column, value) ~ ' or ' ~ is_missing(column, field) ~ ')'
    ) }}
{% endmacro %}


-- What is wrong with a field, as 'field:reason'; null if it is valid.
{% macro reason(column, field, value) %}
    case
        when {{ is_valid(column, field, value) }} then null
        {% if column.required %}
        when {{ is_missing(column, field) }} then '{{ column.name }}:missing'
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
