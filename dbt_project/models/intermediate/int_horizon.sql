with ledger as (

    select * from {{ ref('stg_ledger') }}

),

horizon as (

    select max(dt)::timestamp + interval '1 day' as horizon_at from ledger

)

select * from horizon
