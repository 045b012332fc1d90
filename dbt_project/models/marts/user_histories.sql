{{ config(meta={'reach': 'later'}) }}

with interactions as (

    select impression_id, user_id, author_id, segment_id, shown_at, click, click_known_at, dt
    from {{ ref('interactions') }}
    where dt <= {{ last_day('later') }}

),

impressions as (

    select * from interactions where dt >= {{ first_day() }}

),

clicks as (

    select
        user_id,
        click_known_at as engaged_at,
        impression_id,
        author_id,
        coalesce(segment_id, 0) as segment_id
    from interactions
    where click = 1

),

-- Of clicks from before the first day no impression can see more than the last few.
recent_clicks as (

    select * from clicks where engaged_at >= {{ first_day() }}
    union all
    (
        select * from clicks where engaged_at < {{ first_day() }}
        qualify row_number() over (partition by user_id order by engaged_at desc, impression_id desc)
            <= {{ var('history_length') }}
    )

),

-- After each click: that one and those before it, oldest first.
histories as (

    select
        user_id,
        engaged_at,
        list(author_id) over latest as author_ids,
        list(segment_id) over latest as segment_ids,
        list(engaged_at) over latest as engaged_ats
    from recent_clicks
    window latest as (
        partition by user_id order by engaged_at, impression_id
        rows between {{ var('history_length') - 1 }} preceding and current row
    )
    -- Clicks of one instant are known together.
    qualify row_number() over (partition by user_id, engaged_at order by impression_id desc) = 1

)

select
    impressions.impression_id,
    impressions.dt,
    impressions.user_id,
    impressions.shown_at,
    coalesce(list_reverse(histories.author_ids), []) as history_author_ids,
    coalesce(list_reverse(histories.segment_ids), []) as history_segment_ids,
    coalesce(list_reverse(histories.engaged_ats), []) as history_engaged_at
from impressions
asof left join histories
    on impressions.user_id = histories.user_id and impressions.shown_at > histories.engaged_at
