-- What a model has taken of what it reads: staging.progress has a row for each
-- model and input, written with the model's rows. Whatever was not built, or built
-- alone by hand, or ended half-way, the next build goes on from there.

-- The mark up to which the model has taken an input.
{% macro taken(input) %}
    (
        select coalesce(max(progress.mark), 0)
        from staging.progress
        where progress.model = '{{ this.name }}' and progress.input = '{{ input }}'
    )
{% endmacro %}


-- The number of the build that is under way.
{% macro this_build() %}
    1 + {{ taken('builds') }}
{% endmacro %}


-- Whether a row of a model that feeds this one has changed since that was taken. The
-- first comparison is for the index, which has no row that never changed.
{% macro has_changed(rows, feed) %}
    {{ rows }}._build > 1 and {{ rows }}._build > {{ taken(feed) }}
{% endmacro %}


-- The loads of a table that are to be judged: those that are not published yet, also
-- when an earlier build, which ended before its metrics, has judged them before.
{% macro loads_to_judge(table) %}
    select load_id
    from loads
    where
        table_name = '{{ table }}'
        {% if is_incremental() %}
        and completion > {{ published() }}
        {% endif %}
{% endmacro %}


-- Whether a record is of one of the loads that a relation lists. Where these are few,
-- between two bounds: that is what the index on raw can look up.
{% macro is_of_load_in(listed, are_few) %}
    {% if are_few %}
    _load_id >= (select min(load_id) from {{ listed }})
    and _load_id <= (select max(load_id) from {{ listed }})
    and
    {% endif %}
    _load_id in (select load_id from {{ listed }})
{% endmacro %}


-- The marks of the model's inputs, taken before anything is read: what comes in
-- meanwhile is taken again by the next build. Of the loads, what its feeds have.
{% macro marks_of_inputs() %}
    {% set feeds = config.meta_get('feeds', []) | reject('equalto', 'loads') | list %}
    {% set query %}
        {% for feed in feeds %}
        select '{{ feed }}' as input, coalesce(max(mark), 1) as mark
        from staging.progress
        where model = '{{ feed }}' and input = 'builds'
        union all
        {% endfor %}
        select
            'loads' as input,
            least(
                {% if 'loads' in config.meta_get('feeds', []) %}
                (select coalesce(max(completion), 0) from staging.loads)
                {% if feeds %},{% endif %}
                {% endif %}
                {% for feed in feeds %}
                (
                    select coalesce(max(mark), 0)
                    from staging.progress
                    where model = '{{ feed }}' and input = 'loads'
                ){% if not loop.last %},{% endif %}
                {% endfor %}
            ) as mark
        union all
        select 'builds' as input, {{ this_build() }} as mark
    {% endset %}
    {{ return(run_query(query).rows if config.meta_get('feeds') else []) }}
{% endmacro %}


{% macro remember(marks, is_another_build) %}
    {% for input, mark in marks if is_another_build or input != 'builds' %}
        {% do run_query(
            "insert into staging.progress (model, input, mark)"
            ~ " values ('" ~ this.name ~ "', '" ~ input ~ "', " ~ mark ~ ")"
            ~ " on conflict (model, input) do update set mark = excluded.mark"
            ~ " where progress.mark <> excluded.mark"
        ) %}
    {% endfor %}
{% endmacro %}


-- Tells who listens that a mart has changed, the moment that the change can be seen.
{% macro announce(target) %}
    {% do run_query(
        "insert into marts.publications (mart, version, published_at)"
        ~ " values ('" ~ target.name ~ "', 1, now())"
        ~ " on conflict (mart) do update"
        ~ " set version = publications.version + 1,"
        ~ " published_at = excluded.published_at"
    ) %}
    {% do run_query("select pg_notify('marts_changed', '" ~ target.name ~ "')") %}
{% endmacro %}


-- The completion up to which both marts show the loads.
{% macro published() %}
    (
        select case when count(*) = 2 then min(progress.mark) else 0 end
        from staging.progress
        where
            progress.model in ('hires_by_quarter', 'departments_above_mean')
            and progress.input = 'loads'
    )
{% endmacro %}


-- What the gates look at: in a build, whatever is not published yet; with anything
-- else (dbt test, --full-refresh), and where nothing is, all there is.
{% macro asks_of_new_loads() %}
    {% if flags.WHICH != 'build' or flags.FULL_REFRESH or not execute %}
        {{ return(false) }}
    {% endif %}
    {{ return(run_query('select ' ~ published() ~ ' > 0').rows[0][0]) }}
{% endmacro %}


{% macro is_in_question() %}
    {% if asks_of_new_loads() %}
    loads.completion > {{ published() }}
    {% else %}
    true
    {% endif %}
{% endmacro %}
