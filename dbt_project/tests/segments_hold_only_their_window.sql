-- A segment says nothing that came after it: every utterance of it had ended and every message was sent by its end.
-- Counts tell: as many as landed by the end of the last recomputed window, room by room.
with segments as (

    select room_id, "window", ended_at, n_speech, n_comments + n_bot_comments as n_messages
    from {{ ref('segments') }}
    where dt between {{ first_recomputed_day() }} and {{ last_recomputed_day() }}

),

landed as (

    select room_id, {{ window_of('sent_at') }} as "window", 0 as n_speech, 1 as n_messages
    from {{ ref('stg_comments') }}
    where dt between {{ first_recomputed_day() }} and {{ last_recomputed_day() }}
    union all
    select room_id, {{ last_window_of('ended_at', 'started_at') }}, 1, 0
    from {{ ref('stg_speech') }}
    where dt between {{ first_recomputed_day() }} - 1 and {{ last_recomputed_day() }}

),

known as (

    select room_id, "window", sum(n_speech) as n_speech, sum(n_messages) as n_messages from landed group by all

)

select segments.*, known.n_speech as known_speech, known.n_messages as known_messages
from segments
left join known using (room_id, "window")
where
    segments.n_speech <> coalesce(known.n_speech, 0)
    or segments.n_messages <> coalesce(known.n_messages, 0)
