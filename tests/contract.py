"""Hold a body against the project's own contract, ``tests/openapi.json``."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # ships no types
from referencing import Registry
from referencing.jsonschema import DRAFT202012

CONTRACT: dict[str, Any] = json.loads(
    Path(__file__).with_name("openapi.json").read_text(encoding="utf-8")
)
FOLLOWING_ROUTE = "/v1/tiktok/profiles/{handle}/following"

_REGISTRY: Registry[Any] = Registry().with_resource(
    "urn:contract", DRAFT202012.create_resource(CONTRACT)
)


def check(schema: str, body: object) -> None:
    """Raise unless the body is valid by this schema of the contract."""
    Draft202012Validator(
        {"$ref": f"urn:contract#/components/schemas/{schema}"},
        registry=_REGISTRY,
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    ).validate(body)


def examples(route: str, status: str) -> dict[str, Any]:
    """Return the named example bodies of a route's answer."""
    response = CONTRACT["paths"][route]["get"]["responses"][status]
    name = response.get("$ref", "").rpartition("/")[2]
    response = CONTRACT["components"]["responses"][name] if name else response
    media = response["content"].get("application/json", {"examples": {}})
    return {name: example["value"] for name, example in media["examples"].items()}


def schema_of(route: str, status: str) -> str:
    """Name the schema of a route's answer."""
    if status != "200":
        return "ErrorBody"
    content = CONTRACT["paths"][route]["get"]["responses"]["200"]["content"]
    reference: str = content["application/json"]["schema"]["$ref"]
    return reference.rpartition("/")[2]
