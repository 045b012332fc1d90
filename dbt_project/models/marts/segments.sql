{{ config(meta={'key': ['room_id', 'window'], 'over_midnight': true}) }}

with viewers as (

    select * from {{ ref('int_window_viewers') }}

),

texts as (

    select * from {{ ref('int_window_texts') }}

),

actions as (

    select * from {{ ref('int_window_actions') }}

),

frames as (

    select room_id, "window" from {{ ref('int_window_frames') }}

),

-- Windows in which anything happened.
happened as materialized (

    select *
    from viewers
    full join texts using (room_id, "window")
    full join actions using (room_id, "window")
    full join frames using (room_id, "window")

),

rooms as (

    select
        *,
        {{ window_of('started_at') }} as first_window,
        {{ last_window_of("coalesce(ended_at, timestamp '9999-01-01')", 'started_at') }} as last_window
    from {{ ref('rooms') }}
    where room_id in (select room_id from happened)

),

-- Each change with the title and category that hold from then on; null as long as they are the room's own.
changes as (

    select
        room_id,
        changed_at,
        last_value(title ignore nulls) over earlier as title,
        last_value(category ignore nulls) over earlier as category
    from {{ ref('stg_room_changes') }}
    where dt <= {{ last_day() }} and room_id in (select room_id from happened)
    window earlier as (
        partition by room_id order by changed_at rows between unbounded preceding and current row
    )

)

select
    {{ segment_id('happened.room_id', 'happened."window"') }} as segment_id,
    {{ window_start('happened."window"') }}::date as dt,
    happened.room_id,
    rooms.author_id,
    happened."window",
    (happened."window" - rooms.first_window)::integer as segment_index,
    {{ window_start('happened."window"') }} as started_at,
    {{ window_start('(happened."window" + 1)') }} as ended_at,
    coalesce(changes.title, rooms.title) as title,
    coalesce(changes.category, rooms.category) as category,
    rooms.language,
    coalesce(happened.speech_text, '') as speech_text,
    coalesce(happened.chat_text, '') as chat_text,
    coalesce(happened.n_speech, 0) as n_speech,
    coalesce(happened.n_comments, 0) as n_comments,
    coalesce(happened.n_commenters, 0) as n_commenters,
    coalesce(happened.n_bot_comments, 0) as n_bot_comments,
    coalesce(happened.n_likes, 0) as n_likes,
    coalesce(happened.n_gifts, 0) as n_gifts,
    coalesce(happened.gift_value, 0) as gift_value,
    coalesce(happened.n_shares, 0) as n_shares,
    coalesce(happened.n_follows, 0) as n_follows,
    coalesce(happened.n_viewers, 0) as n_viewers,
    coalesce(happened.n_entered, 0) as n_entered,
    coalesce(happened.n_left, 0) as n_left,
    happened.n_retained / nullif(happened.n_at_start, 0) as retention
from happened
inner join rooms on happened.room_id = rooms.room_id
asof left join changes
    on happened.room_id = changes.room_id and {{ window_start('(happened."window" + 1)') }} > changes.changed_at
where happened."window" between rooms.first_window and rooms.last_window
