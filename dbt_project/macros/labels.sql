{#-
  An action label and the time from which it may be known, of an impression with `click`, `click_known_at`,
  `action_window_ends_at` (no later action counts) and `horizon_at`: 1 from the action on, 0 from the end of its window
  on, null while that is not before the horizon.
-#}
{% macro action_label(name, acted_at) %}
    case
        when click = 0 or {{ acted_at }} < horizon_at then (click = 1)::tinyint
        when action_window_ends_at < horizon_at then 0::tinyint
    end as "{{ name }}",
    case
        when click = 0 then click_known_at
        when {{ acted_at }} < horizon_at then {{ acted_at }}
        when action_window_ends_at < horizon_at then action_window_ends_at
    end as "{{ name }}_known_at"
{% endmacro %}
