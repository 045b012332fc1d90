with source as (

    select * from {{ source('landing', 'rooms') }}

),

renamed as (

    select
        room_id::bigint as room_id,
        author_id::bigint as author_id,
        title::varchar as title,
        category::varchar as category,
        language::varchar as language,
        started_at::timestamp as started_at,
        ended_at::timestamp as ended_at,
        dt::date as dt
    from source

)

select * from renamed
