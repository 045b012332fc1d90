{#-
  Materialization `days`: a model's recomputed days, each replaced as a whole, days without rows too.

    local    one Parquet file a day, `tables/<model>/dt=YYYY-MM-DD/part-0.parquet` beside the warehouse file, which holds a
             view of them: nothing is stored twice
    shared   rows of a table of the attached database, where others read it

  Configuration, in `meta`: key (columns that order a day's rows), reach and over_midnight (see macros/days.sql). Rows pass
  through a temporary table with the contract's types and constraints, a span of days at a time, so memory does not grow
  with the number of days.
-#}
{% materialization days, adapter='duckdb' %}
    {%- set meta = config.get('meta', {}) -%}
    {%- set folder = table_folder() -%}
    {%- set target_relation = this.incorporate(type='table' if folder is none else 'view') -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- if existing is not none and existing.type != target_relation.type -%}
        {% do adapter.drop_relation(existing) %}
        {%- set existing = none -%}
    {%- endif -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}

    {% do set_span('2000-01-01', '2000-01-01') %}
    {% do get_assert_columns_equivalent(sql) %}
    {%- if folder is none and (existing is none or flags.FULL_REFRESH) -%}
        {% call statement('make_table', auto_begin=False) %}
            create or replace table {{ target_relation }} {{ get_table_columns_and_constraints() }}
        {% endcall %}
    {%- endif -%}
    {%- for span in spans_of(recomputed_days(meta.get('reach', 'next'), meta.get('over_midnight', false))) -%}
        {% do set_span(span[0], span[-1]) %}
        {% call statement('span', auto_begin=False) %}
            create or replace temp table {{ span_table() }} {{ get_table_columns_and_constraints() }};
            insert into {{ span_table() }} {{ get_select_subquery(sql) }};
            {{ add_bounds() }}
        {% endcall %}
        {%- if folder is none -%}
            {% do replace_rows(target_relation, span) %}
        {%- else -%}
            {%- for day in span -%} {% do write_day(folder, day, meta['key']) %} {%- endfor -%}
        {%- endif -%}
    {%- endfor -%}
    {% call statement('main', auto_begin=False) %}
        drop table if exists {{ span_table() }};
        {%- if folder is not none %}
        create or replace view {{ target_relation }} as
        select * from read_parquet('{{ sql_glob(folder) }}/dt=*/part-0.parquet', hive_partitioning = true, hive_types = {'dt': date});
        {%- endif %}
    {% endcall %}
    {%- if folder is not none -%} {% do refuse_other_columns(folder) %} {%- endif -%}

    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{#- Where a model's files lie, or none where the target keeps rows in a database that it attaches. -#}
{% macro table_folder() %}
    {%- if target.name == 'shared' -%} {{ return(none) }} {%- endif -%}
    {%- set warehouse = env_var('LIVEALIGN_WAREHOUSE_FILE', '.livealign/warehouse/warehouse.duckdb') -%}
    {{ return((warehouse.rpartition('/')[0] or '.') ~ '/tables/' ~ this.identifier) }}
{% endmacro %}

{#- A path inside the quotes of a string, and one of which DuckDB reads patterns: a home may have ' and [ ] in its name. -#}
{% macro sql_text(path) -%} {{ return(path | replace("'", "''")) }} {%- endmacro %}

{% macro sql_glob(path) -%}
    {{ return(sql_text(path | replace('[', '[[]') | replace('*', '[*]') | replace('?', '[?]'))) }}
{%- endmacro %}

{% macro span_table() -%} temp.main."{{ this.identifier }}__span" {%- endmacro %}

{#-
  Two rows beside the days, of the years 1 and 9999, null wherever the contract allows it. DuckDB takes whether a column of a
  Parquet file may be null from the statistics of the rows, and every column may be where no row can match: with these rows it
  is what the contract says, whatever a day holds. No day has them (`write_day`, `replace_rows`).
-#}
{% macro add_bounds() %}
    insert into {{ span_table() }}
    select
        {%- for column in model.columns.values() %}
        {%- if column['name'] == 'dt' %}
        dt
        {%- elif column['constraints'] | selectattr('type', 'equalto', 'not_null') | list %}
        {{ any_value_of(column['data_type']) }}::{{ column['data_type'] }}
        {%- else %}
        null
        {%- endif %} as "{{ column['name'] }}"{{ ',' if not loop.last }}
        {%- endfor %}
    from (values (date '0001-01-01'), (date '9999-12-31')) as bounds (dt)
{% endmacro %}

{% macro any_value_of(data_type) -%}
    {{ return('[]' if data_type.endswith('[]') else 'make_timestamp(0)' if data_type in ('date', 'timestamp') else '0') }}
{%- endmacro %}

{% macro set_span(first, last) %}
    {% call statement('set_span', auto_begin=False) %}
        set variable first_day = date '{{ first }}';
        set variable last_day = date '{{ last }}'
    {% endcall %}
{% endmacro %}

{#- DuckDB writes beside a file that is there and renames: a reader sees the old day or the new one. -#}
{% macro write_day(folder, day, key) %}
    {%- set day_folder = folder ~ '/dt=' ~ day -%}
    {% do run_query("select make_folder('" ~ sql_text(day_folder) ~ "')") %}
    {% call statement('write_day', auto_begin=False) %}
        copy (
            select * from {{ span_table() }}
            where dt = date '{{ day }}'
            order by {% for column in key %}"{{ column }}"{{ ', ' if not loop.last }}{% endfor %}
        ) to '{{ sql_text(day_folder) }}/part-0.parquet' (format parquet, compression zstd, parquet_version v2, use_tmp_file true)
    {% endcall %}
{% endmacro %}

{% macro replace_rows(relation, span) %}
    {% call statement('replace_rows', auto_begin=False) %}
        begin;
        delete from {{ relation }} where dt between date '{{ span[0] }}' and date '{{ span[-1] }}';
        insert into {{ relation }}
        select * from {{ span_table() }} where dt between date '{{ span[0] }}' and date '{{ span[-1] }}';
        commit
    {% endcall %}
{% endmacro %}

{#- Days that other code wrote may have other columns. -#}
{% macro refuse_other_columns(folder) %}
    {%- set query -%}
        select file_name, list(name || ' ' || "type" order by name) as columns
        from parquet_schema('{{ sql_glob(folder) }}/dt=*/part-0.parquet')
        where num_children is null
        group by file_name
        qualify columns <> last_value(columns) over (
            order by file_name rows between unbounded preceding and unbounded following
        )
        limit 1
    {%- endset -%}
    {%- set other = run_query(query) -%}
    {%- if other.rows | length -%}
        {{ exceptions.raise_compiler_error(
            other.rows[0][0] ~ " has other columns than the latest day: it was built by other code; run dbt build --full-refresh"
            ~ " for all landed days"
        ) }}
    {%- endif -%}
{% endmacro %}
