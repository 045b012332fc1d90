"""The types of the Python client, made from the models of the OpenAPI document.

python -m bentos.client_types        # writes livealign/client_types.py; a test compares the two
"""

import json
import textwrap
from pathlib import Path
from typing import Any

from bentos.live_recommender.messages import EmbeddedSegment, Segment
from bentos.live_recommender.openapi import schemas_of

Json = dict[str, Any]

FILE = Path(__file__).parents[1] / "livealign" / "client_types.py"
EVENT = "SentEvent"  # name of the union of all events
_HEAD = '''"""The requests and answers of the live service as types.

`python -m bentos.client_types` writes this module.
"""

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict
'''
_PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}


def client_types() -> str:
    """The source of `livealign/client_types.py`."""
    schemas = schemas_of(bodies=[Segment], answers=[EmbeddedSegment])
    union = schemas["EventBatch"]["properties"]["events"]["items"]["oneOf"]
    schemas["EventBatch"]["properties"]["events"]["items"] = {"$ref": EVENT}
    events = [_type(member) for member in union]
    given = {"Segment", "Filter", "UserContext", "EventBatch", "RecommendRequest", "RecommendManyRequest", *events}
    classes = [_class(name, schemas[name], asked=name in given) for name in _in_order(schemas)]
    return "\n\n".join([_HEAD, *classes, f"{EVENT}: TypeAlias = (\n    " + "\n    | ".join(events) + "\n)\n"])


def _in_order(schemas: Json) -> list[str]:
    """The names, each after those that it needs; otherwise by the alphabet."""
    placed: list[str] = []

    def place(name: str) -> None:
        if name in placed or name not in schemas:
            return
        for other in sorted(schemas):
            if other != name and f'/{other}"' in json.dumps(schemas[name]):
                place(other)
        placed.append(name)

    for name in sorted(schemas):
        place(name)
    return [name for name in placed if name != "EventBatch"]


def _class(name: str, schema: Json, asked: bool) -> str:
    """One TypedDict; of a request, fields with a default may be left out, and `kind` may not."""
    needed = {*schema.get("required", ()), "kind"} if asked else set(schema["properties"])
    lines = [f"class {name}(TypedDict):", f'    """{schema["description"].splitlines()[0]}"""', ""]
    for field, about in schema["properties"].items():
        kind = _type(about)
        if says := about.get("description"):
            lines += textwrap.wrap(says, 120, initial_indent="    # ", subsequent_indent="    # ")
        lines.append(f"    {field}: {kind if field in needed else f'NotRequired[{kind}]'}")
    return "\n".join(lines) + "\n"


def _type(schema: Json) -> str:
    """A JSON schema as a Python type."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "const" in schema or "enum" in schema:
        return f"Literal[{', '.join(json.dumps(value) for value in schema.get('enum', [schema.get('const')]))}]"
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(_type(one) for one in schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list[{_type(schema['items'])}]"
    if schema.get("type") == "object":
        inner = schema.get("additionalProperties", True)
        return f"dict[str, {_type(inner) if isinstance(inner, dict) else 'Any'}]"
    return _PLAIN.get(str(schema.get("type")), "Any")


if __name__ == "__main__":
    FILE.write_text(client_types())
