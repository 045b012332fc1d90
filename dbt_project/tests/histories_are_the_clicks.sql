-- Histories are the clicks, all of them and nothing else, with the time from which each may be known.
with histories as (

    select * from {{ ref('user_histories') }} where dt between {{ first_recomputed_day() }} and {{ last_recomputed_day() }}

),

clicks as (

    select impression_id, user_id, author_id, segment_id, click_known_at as engaged_at
    from {{ ref('interactions') }}
    where
        click = 1
        and dt between {{ first_recomputed_day() }} - 1 and {{ last_recomputed_day() }}
        and click_known_at::date between {{ first_recomputed_day() }} and {{ last_recomputed_day() }}

)

select histories.*
from histories
full join clicks using (impression_id)
where
    histories.user_id is distinct from clicks.user_id
    or histories.author_id is distinct from clicks.author_id
    or histories.segment_id is distinct from clicks.segment_id
    or histories.engaged_at is distinct from clicks.engaged_at
    or histories.dt <> histories.engaged_at::date
