with impressions as (

    select * from {{ ref('stg_impressions') }} where dt between {{ first_day() }} and {{ last_day() }}

),

sessions as (

    select * from {{ ref('int_sessions') }} where dt >= {{ first_day() }}

),

-- The platform says which impression led to the session, or it is the user's last one of that room.
pairs as (

    select
        impressions.impression_id,
        impressions.shown_at,
        sessions.play_id,
        sessions.entered_at,
        sessions.left_at,
        sessions.stayed_until
    from impressions
    inner join sessions
        on
            sessions.impression_id = impressions.impression_id
            and sessions.user_id = impressions.user_id
            and sessions.room_id = impressions.room_id
    union all
    select
        impressions.impression_id,
        impressions.shown_at,
        sessions.play_id,
        sessions.entered_at,
        sessions.left_at,
        sessions.stayed_until
    from impressions
    inner join sessions
        on sessions.user_id = impressions.user_id and sessions.room_id = impressions.room_id
    where sessions.impression_id is null

),

in_time as (

    select * from pairs
    where entered_at between shown_at and shown_at + {{ seconds('click_window_seconds') }}

),

nearest as (

    select * from in_time
    qualify row_number() over (partition by play_id order by shown_at desc, impression_id) = 1

),

first_session as (

    select * from nearest
    qualify row_number() over (partition by impression_id order by entered_at, play_id) = 1

)

select impression_id, play_id, entered_at, left_at, stayed_until
from first_session
