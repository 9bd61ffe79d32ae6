-- How far a model has taken what it reads: staging.watermarks has a row for each
-- model and input, written with the model's rows. Whatever was not built, or built
-- alone by hand, or ended half-way, the next build continues from there.

-- The watermark up to which the model has taken an input.
{% macro watermark(input) %}
    (
        select coalesce(max(watermarks.watermark), 0)
        from staging.watermarks
        where watermarks.model = '{{ this.name }}' and watermarks.input = '{{ input }}'
    )
{% endmacro %}


-- The number of the build that is under way.
{% macro build_number() %}
    1 + {{ watermark('builds') }}
{% endmacro %}


-- The number of the last build of a model that changed it.
{% macro last_build(model_name) %}
    (
        select coalesce(max(watermarks.watermark), 1)
        from staging.watermarks
        where watermarks.model = '{{ model_name }}' and watermarks.input = 'builds'
    )
{% endmacro %}


-- Whether a row of a model upstream has changed since that was taken. The first
-- comparison is for the index, which has no row that never changed.
{% macro has_changed(rows, model_name) %}
    {{ rows }}._build > 1 and {{ rows }}._build > {{ watermark(model_name) }}
{% endmacro %}


-- The loads of a table that are to be judged: those that are not published yet, also
-- when an earlier build, which ended before its marts, has judged them before.
{% macro loads_to_judge(table) %}
    select load_id
    from loads
    where
        table_name = '{{ table }}'
        {% if is_incremental_build() %}
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


-- The tables that a model is made of: its nearest ancestors that this project stores.
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


-- The watermarks of the model's inputs, taken before anything is read: what comes in
-- meanwhile is taken again by the next build. Of the loads, what all upstream have.
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


{% macro save_watermarks(watermarks, is_another_build) %}
    {% for input, watermark in watermarks if is_another_build or input != 'builds' %}
        {% do run_query(
            "insert into staging.watermarks (model, input, watermark)"
            ~ " values ('" ~ this.name ~ "', '" ~ input ~ "', " ~ watermark ~ ")"
            ~ " on conflict (model, input) do update set watermark = excluded.watermark"
            ~ " where watermarks.watermark <> excluded.watermark"
        ) %}
    {% endfor %}
{% endmacro %}


-- Notifies all listeners that a mart has changed, with the commit of the change.
{% macro notify_readers(target) %}
    {% do run_query(
        "insert into marts.publications (mart, version, published_at)"
        ~ " values ('" ~ target.name ~ "', 1, now())"
        ~ " on conflict (mart) do update"
        ~ " set version = publications.version + 1,"
        ~ " published_at = excluded.published_at"
    ) %}
    {% do run_query("select pg_notify('marts_changed', '" ~ target.name ~ "')") %}
{% endmacro %}


-- The models that are published: their yml says so.
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


-- The completion up to which every mart shows the loads; 0 while one was never built.
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


-- Whether the gates look at less than all there is: in a build, at what is not
-- published yet; with anything else (dbt test, --full-refresh, test_everything), and
-- where nothing is published, at everything.
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


-- Whether a gate looks at a load.
{% macro in_test_scope() %}
    {% if tests_only_new_loads() %}
    loads.completion > {{ published() }}
    {% else %}
    true
    {% endif %}
{% endmacro %}


-- Whether all of a relation can be read in some hundredths of a second.
{% macro is_small(relation) %}
    {% if not execute %}
        {{ return(false) }}
    {% endif %}
    {% set size = run_query("select pg_table_size('" ~ relation ~ "')").rows[0][0] %}
    {{ return(size < 16 * 1024 * 1024) }}
{% endmacro %}
