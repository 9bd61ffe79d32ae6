-- The data rules of each logical type in SQL; contracts/rules.py has the same in
-- Python, and tests compare the two. `column` is a column of contract(), `field` is
-- SQL for what was delivered in it: text, null where nothing was. `value` is SQL for
-- what typed() made of the field.

-- What does not count at the ends of a value: white space of ASCII and Unicode,
-- no-break spaces among it; characters without a width; byte order marks.
{% macro trimmed(field) %}
    btrim(
        {{ field }},
        e' \t\n\r\x0b\f\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006'
        || e'\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000'
        || e'\ufeff'
    )
{% endmacro %}


-- A field's text, null when it is missing.
{% macro as_text(field) %}
    nullif({{ trimmed(field) }}, '')
{% endmacro %}


-- Whether a field holds nothing or, where that is no text, a word that tools write for
-- nothing.
{% macro is_missing(column, field) %}
    {% if column.type == 'string' %}
    {{ as_text(field) }} is null
    {% else %}
    coalesce(upper({{ trimmed(field) }}) in ('', 'NULL', '\N', 'NAN', 'N/A', 'NA'), true)
    {% endif %}
{% endmacro %}


-- A field's value in the type of its column, null when it has none. Whether that is
-- in range is not asked here.
{% macro typed(column, field) %}
    {% if column.type == 'string' %}
    {{ as_text(field) }}
    {% elif column.type == 'timestamp' %}
    {{ as_timestamp(field, column.formats) }}
    {% else %}
    {{ as_number(column, field) }}
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
-- An integer may have a point and zeros, as tools write that hold it as a float.
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
        -- What nearly all look like: as Postgres writes it. A third of the time.
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


-- A point in time, null when it is neither ISO 8601 nor of a format of its column, or
-- no day of the calendar. Without an offset it is UTC, whatever the session's time
-- zone. Digits beyond microseconds are cut off: rounded up they could reach another
-- year.
{% macro as_timestamp(field, formats=[]) %}
    case
        -- What nearly all look like: as Postgres writes it, whatever the session's
        -- settings, and at UTC. Two thirds of the time.
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
                        -- After hours and minutes.
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


-- A text of a format of the contract in ISO 8601, null when it is not of the format.
-- A day, a month and an hour may have one digit where nothing adjoins that has more.
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
        '(' ~ is_in_range(column, value) ~ ' or ' ~ is_missing(column, field) ~ ')'
    ) }}
{% endmacro %}


-- What is wrong with a field, as 'field:reason'; null when nothing is.
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
