{#- Models live in the schemas `staging`, `intermediate` and `marts`, without the prefix of the target's schema. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
