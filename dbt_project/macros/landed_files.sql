{#- Whether a landing table has a file of any day; at execution alone, as for all that lies on disk. -#}
{% macro landed_files(table) %}
    {%- if not execute -%} {{ return(true) }} {%- endif -%}
    {%- set landing = env_var('LIVEALIGN_LANDING', '.livealign/landing') -%}
    {%- set query = "select count(*) from glob('" ~ sql_glob(landing) ~ "/" ~ table ~ "/dt=*/part-*.parquet')" -%}
    {{ return(run_query(query).columns[0].values()[0] > 0) }}
{% endmacro %}
