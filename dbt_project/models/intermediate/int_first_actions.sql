with clicks as (

    select
        clicks.impression_id,
        impressions.user_id,
        impressions.room_id,
        clicks.entered_at,
        least(clicks.stayed_until, clicks.entered_at + {{ seconds('action_window_seconds') }}) as window_ends_at
    from {{ ref('int_clicks') }} as clicks
    inner join {{ ref('stg_impressions') }} as impressions on clicks.impression_id = impressions.impression_id
    where impressions.dt between {{ first_day() }} and {{ last_day() }}

),

actions as (

    select 'like' as action, user_id, room_id, acted_at from {{ ref('stg_likes') }}
    where dt between {{ first_day() }} and {{ last_day() }} + 1
    union all
    select 'comment', user_id, room_id, sent_at from {{ ref('stg_comments') }}
    where dt between {{ first_day() }} and {{ last_day() }} + 1 and not is_bot
    union all
    select 'gift', user_id, room_id, acted_at from {{ ref('stg_gifts') }}
    where dt between {{ first_day() }} and {{ last_day() }} + 1

)

select
    clicks.impression_id,
    min(actions.acted_at) filter (actions.action = 'like') as liked_at,
    min(actions.acted_at) filter (actions.action = 'comment') as commented_at,
    min(actions.acted_at) filter (actions.action = 'gift') as gifted_at
from clicks
inner join actions
    on
        clicks.user_id = actions.user_id
        and clicks.room_id = actions.room_id
        and actions.acted_at between clicks.entered_at and clicks.window_ends_at
group by clicks.impression_id
