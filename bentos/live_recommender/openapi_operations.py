"""The parts of an operation in the OpenAPI document: parameters, answers, refusals."""

from typing import Any

Json = dict[str, Any]

REF = "#/components/schemas/{model}"
_REFUSALS = {
    "400": "The request does not fit this description; `detail` names the field.",
    "401": "An API key is needed, or the one sent is not known.",
    "403": "The key may not do this, or the service has no keys.",
    "408": "The headers or the body did not come in time.",
    "413": "Too much at once.",
    "415": "The body is not JSON, or no picture.",
    "421": "This process is a reader and makes no lists, or a ranker and embeds nothing; ask another.",
    "422": "No event of the batch was taken, and `rejections` says why; or the picture was not, and `error` does.",
    "404": "No such room now, or no such user with a history.",
    "431": "The headers are larger than 16 KB.",
    "429": "Too many requests or events; `Retry-After` says when to try again.",
    "503": "Cannot be done now; try again later.",
}
_ALWAYS = ("400", "401", "403", "408", "429", "431")


def query(name: str, least: int, most: int, default: int) -> Json:
    """A whole number among the parameters of a path."""
    schema = {"type": "integer", "minimum": least, "maximum": most, "default": default}
    return {"name": name, "in": "query", "required": False, "schema": schema, "example": default}


def operation(
    name: str,
    description: str,
    answer: str,
    *,
    body: tuple[str, Json] | None = None,
    parameters: list[Json] | None = None,
    refusals: tuple[str, ...] = (),
    open_to_readers: bool = False,
) -> Json:
    """One operation, with its answer, its refusals and the keys that it needs.

    Args:
        answer: name of the model of the answer.
        body: name of the model of the body, and an example.
        refusals: statuses beside those of every operation.
        open_to_readers: needs no key where the service has no read keys.
    """
    keys: list[Json] = [{"bearer": []}, {"header": []}]
    operation: Json = {
        "operationId": name,
        "summary": name,
        "description": description,
        "parameters": parameters or [],
        "security": [{}, *keys] if open_to_readers else keys,
        "responses": {"200": _content("As described.", answer), **_error_responses(refusals)},
    }
    if body is not None:
        schema = {"$ref": REF.format(model=body[0])}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema, "example": body[1]}}}
    return operation


def with_refusals(operation: Json, *statuses: str) -> Json:
    """The responses and keys of an operation that BentoML has described."""
    return {
        "responses": {**operation["responses"], **_error_responses(statuses)},
        "security": [{}, {"bearer": []}, {"header": []}],
    }


def _error_responses(refusals: tuple[str, ...]) -> Json:
    return {status: _content(_REFUSALS[status], "ErrorBody") for status in sorted({*_ALWAYS, *refusals})}


def _content(description: str, model: str) -> Json:
    return {"description": description, "content": {"application/json": {"schema": {"$ref": REF.format(model=model)}}}}
