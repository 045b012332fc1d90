with comments as (

    select * from {{ ref('stg_comments') }} where dt between {{ first_day() }} and {{ last_day() }}

),

speech as (

    select * from {{ ref('stg_speech') }} where dt between {{ first_day() }} - 1 and {{ last_day() }}

),

chat as (

    select
        room_id,
        {{ window_of('sent_at') }} as "window",
        right(
            string_agg(right(message, {{ var('segment_text_characters') }}), chr(10) order by sent_at, comment_id)
                filter (not is_bot and trim(message) <> ''),
            {{ var('segment_text_characters') }}
        ) as chat_text,
        (count(*) filter (not is_bot))::integer as n_comments,
        (count(distinct user_id) filter (not is_bot))::integer as n_commenters,
        (count(*) filter (is_bot))::integer as n_bot_comments
    from comments
    group by all

),

-- An utterance belongs to the window in which it ends: before that nobody knows it whole.
utterances as (

    select *, {{ last_window_of('ended_at', 'started_at') }} as "window"
    from speech

),

spoken as (

    select
        room_id,
        "window",
        right(
            string_agg(right(utterance, {{ var('segment_text_characters') }}), ' ' order by started_at, speech_id),
            {{ var('segment_text_characters') }}
        ) as speech_text,
        count(*)::integer as n_speech
    from utterances
    where
        "window" >= {{ window_of(first_day() ~ '::timestamp') }}
        and "window" < {{ window_of('(' ~ last_day() ~ ' + 1)::timestamp') }}
    group by all

)

select
    room_id,
    "window",
    coalesce(spoken.speech_text, '') as speech_text,
    coalesce(chat.chat_text, '') as chat_text,
    coalesce(spoken.n_speech, 0) as n_speech,
    coalesce(chat.n_comments, 0) as n_comments,
    coalesce(chat.n_commenters, 0) as n_commenters,
    coalesce(chat.n_bot_comments, 0) as n_bot_comments
from chat
full join spoken using (room_id, "window")
