with source as (

    select * from {{ source('landing', 'speech') }}

),

renamed as (

    select
        speech_id::bigint as speech_id,
        author_id::bigint as author_id,
        room_id::bigint as room_id,
        started_at::timestamp as started_at,
        ended_at::timestamp as ended_at,
        "text"::varchar as utterance,
        dt::date as dt
    from source

)

select * from renamed
