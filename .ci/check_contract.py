"""Read every example body of a contract file with the package, and write it back.

The project's own contract is checked by its tests; this takes the path of another copy, such as the
provider's.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from tiktok_following import APIError
from tiktok_following._config import ApiKey
from tiktok_following._wire import (
    Request,
    Response,
    parse_balance_response,
    parse_following_response,
    parse_health_response,
    parse_identity_response,
)

PARSERS: dict[str, Any] = {
    "/v1/tiktok/profiles/{handle}/following": parse_following_response,
    "/v1/balance": parse_balance_response,
    "/v1/whoami": parse_identity_response,
    "/health": parse_health_response,
}


def check(path: str, status: str, body: Any) -> None:
    """Read one body; raise where it is not read, or does not come back as it was."""
    request = Request("http://127.0.0.1/", "nasa")
    response = Response(int(status), {}, orjson.dumps(body), time.time())
    try:
        made = PARSERS[path](request, response, ApiKey("sfk_test_contract"))
    except APIError as error:
        told = body["error"]
        if (error.status_code, error.code, error.message, error.request_id) != (
            int(status),
            told["code"],
            told["message"],
            told["requestId"],
        ):
            raise ValueError(f"{path} {status}: {error!r}") from error
        return
    back = made.to_dict()
    back = {key: back[key] for key in body}
    if back != body or type(made).from_dict(made.to_dict()) != made:
        raise ValueError(f"{path} {status} does not come back as it was: {back}")


def main() -> None:
    """Check the file named on the command line."""
    contract = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    number = 0
    for path, item in contract["paths"].items():
        for status, response in item["get"]["responses"].items():
            media = response.get("content", {}).get("application/json", {})
            bodies = [example["value"] for example in media.get("examples", {}).values()]
            bodies += [media["example"]] if "example" in media else []
            for body in bodies:
                check(path, status, body)
                number += 1
    if not number:
        raise ValueError("the contract has no examples")
    sys.stdout.write(f"{number} examples read and written back\n")


if __name__ == "__main__":
    main()
