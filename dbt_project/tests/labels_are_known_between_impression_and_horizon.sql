-- A label comes with the time from which it may be known, which is not before the impression and before the horizon;
-- without one it is null. Nothing follows from a click that was not made.
with interactions as (

    select * from {{ ref('interactions') }} where dt between {{ first_recomputed_day() }} and {{ last_recomputed_day() }}

),

horizon as (

    select * from {{ ref('int_horizon') }}

),

labels as (

    {% for label in ['click', 'watch_seconds', 'long_view', 'like', 'comment', 'gift'] -%}
    select
        impression_id,
        '{{ label }}' as label,
        "{{ label }}"::double as outcome,
        "{{ label }}_known_at" as known_at,
        shown_at,
        click
    from interactions
    {{ 'union all' if not loop.last }}
    {% endfor %}

)

select labels.*
from labels
cross join horizon
where
    (labels.outcome is null) <> (labels.known_at is null)
    or labels.known_at < labels.shown_at
    or labels.known_at >= horizon.horizon_at
    or (labels.outcome > 0 and labels.click is distinct from 1)
    or labels.outcome < 0
