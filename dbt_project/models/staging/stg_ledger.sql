with source as (

    select * from {{ source('landing', 'ledger') }}

),

renamed as (

    select
        "table"::varchar as table_name,
        file::varchar as file,
        "read"::bigint as n_read,
        landed::bigint as n_landed,
        rejected::bigint as n_rejected,
        dt::date as dt
    from source

)

select * from renamed
