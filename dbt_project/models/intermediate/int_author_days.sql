{{ config(materialized='days', meta={'key': ['author_id'], 'reach': 'later'}) }}

{% set rooms %}
    select author_id, dt, count(*) as n_rooms
    from {{ ref('rooms') }}
    where dt between {{ first_day() }} and {{ last_day() }}
    group by all
{% endset %}
{{ counts_by_day('author', rooms, first_day(), last_day()) }}
