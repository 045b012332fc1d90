with source as (

    select * from {{ source('landing', 'rejects') }}

),

renamed as (

    select
        "table"::varchar as table_name,
        file::varchar as file,
        line::bigint as line,
        reason::varchar as reason,
        detail::varchar as detail,
        "row"::varchar as "row",
        dt::date as dt
    from source

)

select * from renamed
