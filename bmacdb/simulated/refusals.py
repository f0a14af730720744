"""What REST answers when it does not serve: refusals of its own, limits that are passed, and what the script has."""

from __future__ import annotations

import json

from aiohttp import web

from bmacdb.simulated.faults import RestStatus
from bmacdb.simulated.limits import Verdict

__all__ = ["Refusal", "refused", "too_many"]


class Refusal(Exception):
    """The exchange understands and refuses: an HTTP status, and its own code and message."""

    def __init__(self, code: int, message: str, *, status: int = 400) -> None:
        self.code, self.message, self.status = code, message, status
        super().__init__(message)


def refused(mishap: RestStatus, now_ms: int) -> web.Response:
    """The answer that a script has in place of the true one."""
    status, headers = mishap.status, {} if mishap.retry_after is None else {"Retry-After": str(mishap.retry_after)}
    if mishap.html:
        text = f"<html>\r\n<head><title>{status}</title></head>\r\n<body><h1>{status}</h1></body>\r\n</html>\r\n"
        return web.Response(text=text, status=status, content_type="text/html", headers=headers)
    until = "" if mishap.retry_after is None else f" IP(127.0.0.1) banned until {now_ms + mishap.retry_after * 1000}."
    code, message = {
        429: (-1003, "Too many requests; please use the websocket for live updates to avoid polling the API."),
        418: (-1003, f"Way too many requests;{until} Please use the websocket for live updates to avoid bans."),
        451: (0, "Service unavailable from a restricted location according to 'b. Eligibility' in the terms of use."),
        403: (0, "Forbidden."),
        504: (
            -1007,
            "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
        ),
        503: (-1008, "Server is currently overloaded with other requests. Please try again in a few minutes."),
    }.get(status, (-1000, "An unknown error occurred while processing the request."))
    body = json.dumps({"code": code, "msg": message}).encode()
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


def too_many(limit: int, verdict: Verdict, now_ms: int, headers: dict[str, str]) -> web.Response:
    """The answer to a request beyond the weight `limit`: 429, and 418 to who goes on."""
    if verdict.status == 418:
        message = (
            f"Way too many requests; IP(127.0.0.1) banned until {verdict.until_ms}. "
            "Please use the websocket for live updates to avoid bans."
        )
    else:
        message = (
            f"Too many requests; current limit of IP(127.0.0.1) is {limit} requests per minute. "
            "Please use the websocket for live updates to avoid polling the API."
        )
    wait_s = -(-(verdict.until_ms - now_ms) // 1000)
    body = json.dumps({"code": -1003, "msg": message}).encode()
    return web.Response(
        body=body,
        status=verdict.status,
        content_type="application/json",
        headers={**headers, "Retry-After": str(max(wait_s, 1))},
    )
