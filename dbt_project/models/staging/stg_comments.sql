with source as (

    select * from {{ source('landing', 'comments') }}

),

renamed as (

    select
        comment_id::bigint as comment_id,
        user_id::bigint as user_id,
        author_id::bigint as author_id,
        room_id::bigint as room_id,
        sent_at::timestamp as sent_at,
        "text"::varchar as message,
        is_bot::boolean as is_bot,
        dt::date as dt
    from source

)

select * from renamed
