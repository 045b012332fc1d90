with sessions as (

    select
        play_id,
        user_id,
        room_id,
        entered_at,
        least(stayed_until, entered_at + {{ seconds('action_window_seconds') }}) as window_ends_at
    from {{ ref('int_sessions') }}
    where dt >= {{ first_day() }}

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
    sessions.play_id,
    min(actions.acted_at) filter (actions.action = 'like') as liked_at,
    min(actions.acted_at) filter (actions.action = 'comment') as commented_at,
    min(actions.acted_at) filter (actions.action = 'gift') as gifted_at
from actions
inner join sessions
    on
        sessions.user_id = actions.user_id
        and sessions.room_id = actions.room_id
        and actions.acted_at between sessions.entered_at and sessions.window_ends_at
-- The latest action that can matter: ten minutes after an entry a minute after midnight.
where actions.acted_at <= {{ last_day() }} + 1 + {{ seconds('click_window_seconds') }} + {{ seconds('action_window_seconds') }}
group by sessions.play_id
