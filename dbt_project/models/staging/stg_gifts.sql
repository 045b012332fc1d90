with source as (

    select * from {{ source('landing', 'gifts') }}

),

renamed as (

    select
        action_id::bigint as action_id,
        user_id::bigint as user_id,
        author_id::bigint as author_id,
        room_id::bigint as room_id,
        "at"::timestamp as acted_at,
        "count"::integer as n_items,
        "value"::double as gift_value,
        dt::date as dt
    from source

)

select * from renamed
