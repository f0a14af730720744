"""The chat robots of DingTalk, WeCom and Feishu as apprise has them, with their answers read.

They answer 200 to what they refuse (a wrong signature, a missing keyword, too many messages) and say so in the body,
which apprise does not look at: a robot set up wrongly would swallow every alert.

Their messages have no title of their own: ours becomes the first line. apprise puts a title into the body where a
service allows none (`title_maxlen`), and which services these are changes with its version; `_text` is right for both.
"""

from __future__ import annotations

import json
from typing import Any

import requests
from apprise.plugins.dingtalk import NotifyDingTalk
from apprise.plugins.feishu import NotifyFeishu
from apprise.plugins.wecombot import NotifyWeComBot

__all__ = ["ROBOTS"]

_TITLE_CHARACTERS = 250


def _text(title: str, body: str) -> str:
    return f"{title}\n{body}" if title else body


def _post(plugin: Any, url: str, payload: dict[str, object], params: dict[str, str] | None = None) -> bool:
    """Send `payload` and read the answer; what went wrong goes to apprise's log, without the address."""
    plugin.throttle()
    try:
        response = requests.post(
            url,
            data=json.dumps(payload).encode(),
            headers={"User-Agent": plugin.app_id, "Content-Type": "application/json; charset=utf-8"},
            params=params,
            verify=plugin.verify_certificate,
            timeout=plugin.request_timeout,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        plugin.logger.warning(f"cannot reach it ({type(error).__name__}).")
        plugin.logger.debug(f"Socket Exception: {error}")
        return False
    if response.status_code != requests.codes.ok:
        plugin.logger.warning(f"it answered HTTP {response.status_code}.")
        return False
    try:
        answer = response.json()
        code = answer.get("errcode", answer.get("code", answer.get("StatusCode", 0)))
        text = answer.get("errmsg", answer.get("msg", ""))
    except (ValueError, AttributeError):
        plugin.logger.warning("its answer is none of a robot's; is the address right?")
        return False
    if code:
        plugin.logger.warning(f"it refused: {code} {str(text)[:200]}")
    return not code


class _DingTalk(NotifyDingTalk):  # type: ignore[misc]
    title_maxlen = _TITLE_CHARACTERS

    def send(self, body: str, title: str = "", **_: Any) -> bool:
        payload: dict[str, object] = {
            "msgtype": "text",
            "text": {"content": _text(title, body)},
            "at": {"atMobiles": self.targets, "isAtAll": False},
        }
        params = None
        if self.secret:
            timestamp, signature = self.signature()
            params = {"timestamp": timestamp, "sign": signature}
        return _post(self, self.notify_url.format(token=self.token), payload, params)

    def signature(self) -> tuple[str, str]:
        """Milliseconds, and their HMAC-SHA256 in base64. (apprise quotes it, and requests would once more.)"""
        timestamp, quoted = self.get_signature()
        return timestamp, self.unquote(quoted)


class _WeComBot(NotifyWeComBot):  # type: ignore[misc]
    title_maxlen = _TITLE_CHARACTERS

    def send(self, body: str, title: str = "", **_: Any) -> bool:
        return _post(self, self.api_url, {"msgtype": "text", "text": {"content": _text(title, body)}})


class _Feishu(NotifyFeishu):  # type: ignore[misc]
    title_maxlen = _TITLE_CHARACTERS

    def send(self, body: str, title: str = "", **_: Any) -> bool:
        payload: dict[str, object] = {"msg_type": "text", "content": {"text": _text(title, body)}}
        return _post(self, self.notify_url.format(token=self.token), payload)


ROBOTS: dict[str, type[Any]] = {"dingtalk": _DingTalk, "wecombot": _WeComBot, "feishu": _Feishu}
"""By the scheme of their URLs."""
