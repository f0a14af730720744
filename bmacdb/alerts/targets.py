"""Where alerts go, as apprise URLs; the predecessor's robots translated into such. Nothing here shows a secret."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import parse_qs, quote, unquote, urlsplit

from bmacdb.errors import UsageError
from bmacdb.settings import Robot, Settings

__all__ = ["Mask", "alert_urls"]

_SHORTEST = 4  # a shorter piece of a URL is no secret, and masking it would make texts unreadable
_TOKEN = re.compile(r"[\w-]+", re.ASCII)
_PLACEHOLDER = re.compile(r"\.\.\.|…|^x+$", re.IGNORECASE)
_NO_TOKEN = "this is no robot's own, but an example's. Put your robot's in its place, or leave the table out."
_LIKE_DINGTALK, _LIKE_WECOM = "oapi.dingtalk.com", "qyapi.weixin.qq.com"


def alert_urls(settings: Settings) -> tuple[str, ...]:
    """The apprise URLs of all targets, each once. Raises UsageError for a robot whose credentials are incomplete."""
    urls = [url.get_secret_value() for url in settings.alerts]
    if settings.dingding:
        urls += [_dingtalk(robot, f"dingding.{name}") for name, robot in _channels(settings.dingding)]
    if sender := settings.msg_sender:
        translate = _dingtalk if sender.type == "dingding" else _wecom
        urls += [translate(robot, f"msg_sender.{name}") for name, robot in _channels(sender.channels)]
    return tuple(dict.fromkeys(urls))


def _channels(robots: dict[str, Robot]) -> Iterable[tuple[str, Robot]]:
    """The predecessor alerts in the channel `error`; without one, every channel is told."""
    return [("error", robots["error"])] if "error" in robots else list(robots.items())


def _dingtalk(robot: Robot, place: str) -> str:
    token = robot.access_token.get_secret_value() if robot.access_token else ""
    if not token and robot.webhook_url:
        found = urlsplit(robot.webhook_url.get_secret_value())
        token = parse_qs(found.query).get("access_token", [""])[0] if found.hostname == _LIKE_DINGTALK else ""
    if not token:
        raise UsageError(f"{place}: a DingTalk robot needs its access_token (the last part of its webhook address).")
    if not _TOKEN.fullmatch(token) or _PLACEHOLDER.search(token):
        raise UsageError(f"{place}.access_token: {_NO_TOKEN}")
    secret = robot.secret.get_secret_value() if robot.secret else ""
    if _PLACEHOLDER.search(secret):
        raise UsageError(f"{place}.secret: {_NO_TOKEN}")
    return f"dingtalk://{quote(secret, safe='')}{'@' if secret else ''}{quote(token, safe='')}/"


def _wecom(robot: Robot, place: str) -> str:
    url = robot.webhook_url.get_secret_value() if robot.webhook_url else ""
    found = urlsplit(url)
    key = parse_qs(found.query).get("key", [""])[0]
    if found.hostname != _LIKE_WECOM or not key:
        raise UsageError(
            f"{place}: a WeCom robot needs its webhook_url, like https://{_LIKE_WECOM}/cgi-bin/webhook/send?key=…"
        )
    if not _TOKEN.fullmatch(key) or _PLACEHOLDER.search(key):
        raise UsageError(f"{place}.webhook_url: the key in it {_NO_TOKEN.removeprefix('this ')}")
    return f"wecombot://{quote(key, safe='')}/"


class Mask:
    """Takes the secrets of URLs out of texts."""

    def __init__(self, urls: Iterable[str]) -> None:
        pieces: set[str] = set()
        for url in urls:
            rest = url.partition("://")[2] or url
            pieces |= {rest, *re.split(r"[/:@?&=#]+", rest)}
        pieces |= {unquote(piece) for piece in pieces} | {quote(piece, safe="") for piece in pieces}
        # The longest first: a shorter one may be a part of it.
        self._secrets = sorted((piece for piece in pieces if len(piece) >= _SHORTEST), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text
