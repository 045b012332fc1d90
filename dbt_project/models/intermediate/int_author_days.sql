{{ config(materialized='incremental', incremental_strategy='replace_days', on_schema_change='fail', meta={'reach': 'later'}) }}

{% set rooms %}
    select author_id, dt, count(*) as n_rooms from {{ ref('rooms') }} group by all
{% endset %}
{{ counts_by_day('author', rooms, first_day(), last_day('later')) }}
