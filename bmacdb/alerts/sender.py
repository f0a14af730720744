"""Sending a message: one protocol, and apprise behind it, which speaks to DingTalk, WeCom, Feishu, Telegram, Slack,
Discord, mail servers, webhooks and a hundred more.

apprise is imported where a target is made: it takes 25 MB, which a recorder without alerts does not pay.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable
from typing import Any, Protocol

from bmacdb.alerts.digest import Message
from bmacdb.alerts.rules import Level
from bmacdb.alerts.targets import Mask
from bmacdb.errors import BmacdbError, UsageError

__all__ = ["AppriseTarget", "SendFailed", "Target", "open_targets"]


class SendFailed(BmacdbError):
    """A target did not take a message; the text holds no secret."""


class Target(Protocol):
    """One place that takes messages; `name` holds no secret."""

    name: str

    def send(self, message: Message) -> None:
        """Deliver `message`, within seconds. Raises SendFailed."""


class AppriseTarget:
    """The target of one apprise URL."""

    def __init__(self, url: str) -> None:
        """Raises UsageError for a URL that apprise does not understand."""
        self._mask = Mask([url])
        scheme = url.partition("://")[0] if "://" in url else "…"
        with warnings.catch_warnings(), _Said() as said:  # some of its plugins import what Python has deprecated
            warnings.simplefilter("ignore")
            import apprise

            plugin: Any = apprise.Apprise.instantiate(url)
            if isinstance(plugin, apprise.NotifyBase) and plugin.secure_protocol in (robots := _robots()):
                plugin = robots[plugin.secure_protocol](**plugin.parse_url(plugin.url()))
        if not isinstance(plugin, apprise.NotifyBase):
            why = f" ({self._mask(said.last)})" if said.last else ""
            raise UsageError(
                f"alerts: an address of the form {scheme}://… cannot be used{why}. "
                "The forms of all services: https://github.com/caronc/apprise/wiki."
            )
        self.plugin = plugin
        self.name = f"{plugin.service_name or scheme}"
        self._apprise = apprise.Apprise()
        self._apprise.add(plugin)
        self._types = {
            Level.ERROR: apprise.NotifyType.FAILURE,
            Level.WARNING: apprise.NotifyType.WARNING,
            Level.INFO: apprise.NotifyType.INFO,
            Level.GOOD: apprise.NotifyType.SUCCESS,
        }

    def __repr__(self) -> str:
        return f"<AppriseTarget {self.name}>"

    def send(self, message: Message) -> None:
        with _Said() as said:
            sent = self._apprise.notify(
                body=message.body, title=message.title, notify_type=self._types[message.level], body_format="text"
            )
        if not sent:
            raise SendFailed(f"{self.name} did not take it: {self._mask(said.last) or 'it gives no reason'}")


def _robots() -> dict[str, Any]:
    from bmacdb.alerts.robots import ROBOTS

    return ROBOTS


def open_targets(urls: Iterable[str]) -> tuple[AppriseTarget, ...]:
    """A target for each URL, named apart. Raises UsageError."""
    targets = tuple(AppriseTarget(url) for url in urls)
    for target in targets:
        alike = [other for other in targets if other.plugin.service_name == target.plugin.service_name]
        if len(alike) > 1:
            target.name = f"{target.plugin.service_name} {alike.index(target) + 1}"
    return targets


class _Said(logging.Handler):
    """What apprise logs during the block, kept from the console: it may quote addresses."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._logger = logging.getLogger("apprise")
        self._warnings: list[str] = []
        self._causes: list[str] = []

    def __enter__(self) -> _Said:
        self._before = self._logger.level, self._logger.propagate
        self._logger.setLevel(logging.DEBUG)
        self._logger.propagate = False
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._before[0])
        self._logger.propagate = self._before[1]

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().strip()
        if record.levelno >= logging.WARNING:
            self._warnings.append(text)
        elif text.startswith("Socket Exception"):  # why a connection failed is told at this level alone
            self._causes.append(text)

    @property
    def last(self) -> str:
        return " ".join([*self._warnings[-1:], *self._causes[-1:]])
