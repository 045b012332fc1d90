{{ config(materialized='days', meta={'key': ['user_id'], 'reach': 'later'}) }}

{% set rooms %}
    select user_id, click_known_at::date as dt, count(distinct room_id) as n_rooms from interactions where click = 1 group by all
{% endset %}
{{ counts_by_day('user', rooms, first_day(), last_day()) }}
