{#- Rows whose room was landed on no day. A platform may log such rows, e.g. of rooms that began before the first day. -#}
{% test known_room(model) %}
{{ config(severity='warn') }}
select model.room_id, count(*) as n_rows
from {{ model }} as model
anti join {{ ref('rooms') }} as rooms on model.room_id = rooms.room_id
group by all
{% endtest %}
