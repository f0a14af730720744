"""The stream beyond this machine: with keys or not at all."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import pytest
import zmq

from bmacdb.config import load_settings
from bmacdb.errors import UsageError
from bmacdb.stream.messages import HEARTBEAT
from bmacdb.stream.publisher import Publisher
from bmacdb.stream.subscription import Subscription


def _publishers() -> tuple[Publisher, str]:
    for port in range(19_400, 20_000, 2):
        try:
            publisher = Publisher(port)
        except OSError:
            continue
        try:
            publisher.publish_on(f"tcp://127.0.0.1:{port + 1}", _SECRET.decode())
        except OSError:
            publisher.close()
            continue
        return publisher, f"tcp://127.0.0.1:{port + 1}"
    raise AssertionError("no free port")


_PUBLIC, _SECRET = zmq.curve_keypair()


def test_with_the_public_key_alone_one_hears_something() -> None:
    """The right key hears; no key and a wrong one hear nothing meanwhile; loopback goes on without."""
    publisher, address = _publishers()
    wrong, _ = zmq.curve_keypair()
    right = Subscription(address, (HEARTBEAT,), server_key=_PUBLIC.decode())
    plain = Subscription(f"tcp://127.0.0.1:{publisher.port}", (HEARTBEAT,))
    shut_out = [Subscription(address, (HEARTBEAT,)), Subscription(address, (HEARTBEAT,), server_key=wrong.decode())]
    try:
        heard = {"right": 0, "plain": 0}
        until = monotonic() + 30
        while min(heard.values()) < 5:
            publisher.heartbeat(1, {})
            heard["right"] += right.receive(0.02) is not None
            heard["plain"] += plain.receive(0.02) is not None
            assert [one.receive(0) for one in shut_out] == [None, None]
            assert monotonic() < until
        with pytest.raises(UsageError, match="no public CURVE key"):
            Subscription(address, (HEARTBEAT,), server_key="abc")
    finally:
        for one in (right, plain, *shut_out):
            one.close()
        publisher.close()


def test_an_address_that_cannot_be_bound_is_named() -> None:
    publisher, _ = _publishers()
    try:
        with pytest.raises(OSError, match=r"tcp://192\.0\.2\.1:9800 cannot be bound"):
            publisher.publish_on("tcp://192.0.2.1:9800")
    finally:
        publisher.close()


def test_beyond_this_machine_a_key_is_needed(tmp_path: Path) -> None:
    """Refused without a key, taken with one; nothing shows the secret key, not even the message about a wrong one."""
    flags = {"feeds": ("usdt_perp_1m",), "publish": "tcp://192.168.1.5:9800"}
    with pytest.raises(UsageError, match="publish_key is needed"):
        load_settings(tmp_path, flags, {})
    secret = _SECRET.decode()
    (tmp_path / "publish.key").write_text(secret + "\n")
    settings = load_settings(tmp_path, flags | {"publish_key": f"@{tmp_path / 'publish.key'}"}, {})
    assert settings.publish == "tcp://192.168.1.5:9800"
    assert settings.publish_key is not None
    assert settings.publish_key.get_secret_value() == secret
    assert secret not in f"{settings!r} {settings.shown()} {settings.model_dump()}"
    with pytest.raises(UsageError, match="40 characters") as caught:
        load_settings(tmp_path, flags | {"publish_key": secret[:-1]}, {})
    assert secret[:-1] not in str(caught.value)
    with pytest.raises(UsageError, match=r"no port. Did you mean tcp://192\.168\.1\.5:9800"):
        load_settings(tmp_path, flags | {"publish": "tcp://192.168.1.5", "publish_key": secret}, {})
    on_loopback = load_settings(tmp_path, flags | {"publish": "tcp://127.0.0.1:9800"}, {})
    assert on_loopback.publish == "tcp://127.0.0.1:9800"
