{{ config(meta={'key': ['impression_id']}) }}

with impressions as (

    select * from {{ ref('stg_impressions') }} where dt between {{ first_day() }} and {{ last_day() }}

),

segments as (

    select segment_id, room_id, ended_at
    from {{ ref('segments') }}
    where
        dt between {{ first_day() }} - 1 and {{ last_day() }}
        and ended_at >= {{ first_day() }} - {{ hours('segment_age_cap_hours') }}

),

rooms as (

    select room_id, started_at, ended_at
    from {{ ref('rooms') }}
    where room_id in (select room_id from impressions)

),

clicks as (

    select * from {{ ref('int_clicks') }}

),

first_actions as (

    select * from {{ ref('int_first_actions') }}

),

horizon as (

    select * from {{ ref('int_horizon') }}

),

-- The last window that had ended when the room was shown, unless that is too long ago to say anything.
decided as (

    select
        impressions.*,
        case when impressions.shown_at - segments.ended_at <= {{ hours('segment_age_cap_hours') }} then segments.segment_id end
            as segment_id,
        segments.ended_at as segment_ended_at
    from impressions
    asof left join segments
        on impressions.room_id = segments.room_id and impressions.shown_at >= segments.ended_at

),

observed as (

    select
        decided.*,
        rooms.started_at as room_started_at,
        -- A room shown after its end (a platform may list what was live lately) is what it was at its end.
        least(decided.shown_at, coalesce(rooms.ended_at, decided.shown_at)) as seen_at,
        clicks.entered_at,
        clicks.left_at,
        clicks.entered_at + {{ seconds('long_view_seconds') }} as long_view_at,
        clicks.stayed_until,
        least(clicks.stayed_until, clicks.entered_at + {{ seconds('action_window_seconds') }}) as action_window_ends_at,
        first_actions.liked_at,
        first_actions.commented_at,
        first_actions.gifted_at,
        horizon.horizon_at
    from decided
    left join rooms on decided.room_id = rooms.room_id
    left join clicks on decided.impression_id = clicks.impression_id
    left join first_actions on clicks.play_id = first_actions.play_id
    cross join horizon

),

clicked as (

    select
        *,
        case
            when entered_at < horizon_at then 1::tinyint
            when shown_at + {{ seconds('click_window_seconds') }} < horizon_at then 0::tinyint
        end as click,
        case
            when entered_at < horizon_at then entered_at
            when shown_at + {{ seconds('click_window_seconds') }} < horizon_at
                then shown_at + {{ seconds('click_window_seconds') }}
        end as click_known_at,
        -- A session without an end is still watched at the horizon, was too short whenever it ended, or says nothing.
        long_view_at < horizon_at
        and (left_at is not null or stayed_until >= horizon_at or stayed_until < long_view_at) as long_view_is_known
    from observed

)

select
    impression_id,
    dt,
    user_id,
    author_id,
    room_id,
    segment_id,
    case when segment_id is not null then epoch_ms(greatest(seen_at, segment_ended_at) - segment_ended_at) / 1000.0 end as segment_age_seconds,
    shown_at,
    "position",
    surface,
    request_id,
    epoch_ms(seen_at - room_started_at) / 60000.0 as minute_in_room,
    click,
    click_known_at,
    case
        when click = 0 then 0.0
        when left_at < horizon_at then epoch_ms(left_at - entered_at) / 1000.0
    end as watch_seconds,
    case
        when click = 0 then click_known_at
        when left_at < horizon_at then left_at
    end as watch_seconds_known_at,
    case
        when click = 0 then 0::tinyint
        when long_view_is_known then (stayed_until >= long_view_at)::tinyint
    end as long_view,
    case
        when click = 0 then click_known_at
        when long_view_is_known then long_view_at
    end as long_view_known_at,
    {{ action_label('like', 'liked_at') }},
    {{ action_label('comment', 'commented_at') }},
    {{ action_label('gift', 'gifted_at') }},
    score,
    model_version
from clicked
