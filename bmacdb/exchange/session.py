"""HTTP sessions for REST and websockets, straight or through a proxy."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from bmacdb.exchange.endpoints import Endpoints

__all__ = ["describe", "http_proxy", "open_session"]

_KEEPING: dict[str, Any] = {"limit": 0, "keepalive_timeout": 60.0}


_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


def describe(error: BaseException) -> str:
    """The text of a transport's exception. It may quote the URL of a proxy: user and password are cut out."""
    return _CREDENTIALS.sub("***@", str(error)) or type(error).__name__


def _is_socks(proxy: str | None) -> bool:
    return proxy is not None and urlsplit(proxy).scheme.startswith("socks")


def http_proxy(proxy: str | None) -> str | None:
    """What a single request has to name of a proxy: HTTP proxies. (Those of SOCKS belong to the whole session.)"""
    return None if _is_socks(proxy) else proxy or None


def open_session(
    *, timeout_s: float = 5.0, endpoints: Endpoints | None = None, proxy: str | None = None
) -> aiohttp.ClientSession:
    """A session for REST and websockets that keeps its connections, and heeds HTTPS_PROXY where no `proxy` is given.

    `timeout_s` is for connecting and for the first answer: a websocket may be silent for longer once it is open.
    With `endpoints` on this machine no proxy is used: it could not reach them.
    """
    local = endpoints is not None and endpoints.is_loopback()
    socks = proxy if _is_socks(proxy) and not local else None
    return aiohttp.ClientSession(
        connector=_socks_connector(socks) if socks else aiohttp.TCPConnector(**_KEEPING, ttl_dns_cache=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "bmacdb"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeout_s, sock_read=timeout_s),
        trust_env=not local and not socks,
    )


def _socks_connector(proxy: str) -> aiohttp.BaseConnector:
    """As curl reads such URLs: with socks5h and socks4a the proxy looks host names up, else this machine does."""
    from aiohttp_socks import ProxyConnector  # imported when used, as most users do not
    from python_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError

    class Connector(ProxyConnector):
        """Fails with aiohttp's errors, as every connector does. (Those of aiohttp-socks are no kind of them.)"""

        async def _connect_via_proxy(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return await super()._connect_via_proxy(*args, **kwargs)
            except (ProxyConnectionError, ProxyError, ProxyTimeoutError) as error:
                raise aiohttp.ClientConnectionError(f"the SOCKS proxy: {error}") from error

    scheme, mark, rest = proxy.partition("://")
    return Connector.from_url(scheme[:6] + mark + rest, rdns=scheme in ("socks5h", "socks4a"), **_KEEPING)
