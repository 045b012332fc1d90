{#- The columns together are a key: no two rows share them. -#}
{% test unique_combination(model, columns) %}
select {% for column in columns %}"{{ column }}", {% endfor %}count(*) as n_rows
from {{ model }} as recomputed
group by all
having count(*) > 1
{% endtest %}
