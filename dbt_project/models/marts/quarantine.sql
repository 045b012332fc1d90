{{ config(meta={'key': ['table_name', 'file', 'line', 'reason', 'detail']}) }}
-- depends_on: {{ ref('stg_ledger') }}

with rejects as (

    select * from {{ ref('stg_rejects') }}

)

select
    dt,
    table_name,
    file,
    line,
    reason,
    detail,
    "row"
from rejects
where dt between {{ first_day() }} and {{ last_day() }}
