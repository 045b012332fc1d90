{{ config(meta={'key': ['user_id']}) }}

select dt, user_id, country
from {{ ref('stg_users') }}
where country is not null and dt between {{ first_day() }} and {{ last_day() }}
