with source as (

    select * from {{ source('landing', 'plays') }}

),

renamed as (

    select
        play_id::bigint as play_id,
        user_id::bigint as user_id,
        author_id::bigint as author_id,
        room_id::bigint as room_id,
        impression_id::bigint as impression_id,
        entered_at::timestamp as entered_at,
        left_at::timestamp as left_at,
        "source"::varchar as source,
        dt::date as dt
    from source

)

select * from renamed
