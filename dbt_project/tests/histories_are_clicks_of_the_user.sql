-- Every entry of a history is a click of that user on that author, with the segment and the time of that click.
with entries as (

    select distinct
        user_id,
        unnest(history_author_ids) as author_id,
        unnest(history_segment_ids) as segment_id,
        unnest(history_engaged_at) as engaged_at
    from {{ ref('user_histories') }}
    where dt between {{ first_day() }} and {{ last_day() }}

),

clicks as (

    select user_id, author_id, coalesce(segment_id, 0) as segment_id, click_known_at as engaged_at
    from {{ ref('interactions') }}
    where click = 1

)

select entries.*
from entries
anti join clicks using (user_id, author_id, segment_id, engaged_at)
