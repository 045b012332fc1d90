{{ config(meta={'key': ['user_id', 'engaged_at', 'impression_id'], 'over_midnight': true}) }}

with clicks as (

    select * from {{ ref('interactions') }}
    -- A click is known a minute after its impression at the latest.
    where click = 1 and dt between {{ first_day() }} - 1 and {{ last_day() }}

)

select
    impression_id,
    click_known_at::date as dt,
    user_id,
    click_known_at as engaged_at,
    author_id,
    segment_id
from clicks
where click_known_at::date between {{ first_day() }} and {{ last_day() }}
