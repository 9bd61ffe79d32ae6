-- How far a model has processed its inputs: staging.watermarks has a row per model and
-- input, written in the same transaction as the model's rows. The next build continues
-- from there, even if a model was skipped, built on its own, or failed.

-- The watermark up to which the model has processed an input.
{% macro watermark(input) %}
    (
        select coalesce(max(watermarks.watermark), 0)
        from staging.watermarks
        where watermarks.model = '{{ this.name }}' and watermarks.input = '{{ input }}'
    )
{% endmacro %}


-- The number of the current build.
{% macro build_number() %}
    1 + {{ watermark('builds') }}
{% endmacro %}


-- The number of the last build that changed a model.
{% macro last_build(model_name) %}
    (
        select coalesce(max(watermarks.watermark), 1)
        from staging.watermarks
        where watermarks.model = '{{ model_name }}' and watermarks.input = 'builds'
    )
{% endmacro %}


-- Whether a row of an upstream model has changed since the model processed it. The
-- first comparison matches the partial index, which omits rows that never changed.
{% macro has_changed(rows, model_name) %}
    {{ rows }}._build > 1 and {{ rows }}._build > {{ watermark(model_name) }}
{% endmacro %}


-- The loads of a table to check: those that are not published yet, including those that
-- an earlier build has checked if it ended before its marts.
{% macro loads_to_check(table) %}
    select load_id
    from loads
    where
        table_name = '{{ table }}'
        {% if is_incremental_build() %}
        and completion > {{ published() }}
        {% endif %}
{% endmacro %}


-- Whether a record is of one of the loads that a relation lists. If these are few, with
-- two bounds, which the index on raw supports.
{% macro is_of_load_in(listed, are_few) %}
    {% if are_few %}
    _load_id >= (select min(load_id) from {{ listed }})
    and _load_id <= (select max(load_id) from {{ listed }})
    and
    {% endif %}
    _load_id in (select load_id from {{ listed }})
{% endmacro %}


-- The tables that a model depends on: its nearest ancestors that are not views.
{% macro upstream(node) %}
    {% set names = [] %}
    {% for parent in node.depends_on.nodes if parent in graph.nodes %}
        {% set parent = graph.nodes[parent] %}
        {% if parent.config.materialized == 'differential' %}
            {% do names.append(parent.name) %}
        {% else %}
            {% do names.extend(upstream(parent)) %}
        {% endif %}
    {% endfor %}
    {{ return(names | unique | sort) }}
{% endmacro %}


-- The watermarks of the model's inputs, read before the inputs: rows that are added
-- meanwhile are processed again by the next build. For loads, the lowest watermark of
-- the upstream models.
{% macro new_watermarks() %}
    {% set names = upstream(model) %}
    {% set query %}
        {% for name in names if name != 'loads' and config.meta_get('incremental') %}
        select '{{ name }}' as input, {{ last_build(name) }} as watermark
        union all
        {% endfor %}
        select
            'loads' as input,
            least(
                {% for name in names %}
                {% if name == 'loads' %}
                (select coalesce(max(completion), 0) from {{ ref('loads') }})
                {% else %}
                (
                    select coalesce(max(watermark), 0)
                    from staging.watermarks
                    where model = '{{ name }}' and input = 'loads'
                )
                {% endif %}
                {% if not loop.last %},{% endif %}
                {% endfor %}
            ) as watermark
        union all
        select 'builds' as input, {{ build_number() }} as watermark
    {% endset %}
    {{ return(run_query(query).rows if names else []) }}
{% endmacro %}


{% macro save_watermarks(watermarks, is_changed) %}
    {% for input, watermark in watermarks if is_changed or input != 'builds' %}
        {% do run_query(
            "insert into staging.watermarks (model, input, watermark)"
            ~ " values ('" ~ this.name ~ "', '" ~ input ~ "', " ~ watermark ~ ")"
            ~ " on conflict (model, input) do update set watermark = excluded.watermark"
            ~ " where watermarks.watermark <> excluded.watermark"
        ) %}
    {% endfor %}
{% endmacro %}


-- Notifies all listeners that a mart has changed, when the change is committed.
{% macro notify_readers(target) %}
    {% do run_query(
        "insert into marts.publications (mart, version, published_at)"
        ~ " values ('" ~ target.name ~ "', 1, clock_timestamp())"
        ~ " on conflict (mart) do update"
        ~ " set version = publications.version + 1,"
        ~ " published_at = excluded.published_at"
    ) %}
    {% do run_query("select pg_notify('marts_changed', '" ~ target.name ~ "')") %}
{% endmacro %}


-- The models with `meta: {published: true}`.
{% macro published_marts() %}
    {% set names = [] %}
    {% set nodes = graph.nodes.values() if execute else [] %}
    {% for node in nodes if node.resource_type == 'model' %}
        {% if node.config.meta.get('published') %}
            {% do names.append(node.name) %}
        {% endif %}
    {% endfor %}
    {{ return(names) }}
{% endmacro %}


-- The completion up to which every mart shows the loads; 0 while a mart has never been
-- built.
{% macro published() %}
    {% set marts = published_marts() %}
    (
        select
            case
                when count(*) = {{ marts | length }} then min(watermarks.watermark)
                else 0
            end
        from staging.watermarks
        where
            watermarks.model in ('{{ marts | join("', '") }}')
            and watermarks.input = 'loads'
    )
{% endmacro %}


-- Whether data tests check only loads that are not published yet, as in a build. With
-- anything else (dbt test, --full-refresh, test_everything), and while nothing is
-- published, they check everything.
{% macro tests_only_new_loads() %}
    {% if
        flags.WHICH != 'build'
        or flags.FULL_REFRESH
        or var('test_everything', false)
        or not execute
    %}
        {{ return(false) }}
    {% endif %}
    {{ return(run_query('select ' ~ published() ~ ' > 0').rows[0][0]) }}
{% endmacro %}


-- Whether data tests check a load.
{% macro in_test_scope() %}
    {% if tests_only_new_loads() %}
    loads.completion > {{ published() }}
    {% else %}
    true
    {% endif %}
{% endmacro %}


-- Whether a relation is small enough to be read in some hundredths of a second.
{% macro is_small(relation) %}
    {% if not execute %}
        {{ return(false) }}
    {% endif %}
    {% set size = run_query("select pg_table_size('" ~ relation ~ "')").rows[0][0] %}
    {{ return(size < 16 * 1024 * 1024) }}
{% endmacro %}
