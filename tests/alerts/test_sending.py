"""Sending: signatures, refusals, and that no secret is ever shown."""

from __future__ import annotations

import logging

import pytest
from pydantic import SecretStr

from bmacdb.alerts.digest import Message
from bmacdb.alerts.rules import Level
from bmacdb.alerts.sender import AppriseTarget, SendFailed, open_targets
from bmacdb.alerts.targets import Mask, alert_urls
from bmacdb.config import Robot, load_settings
from bmacdb.errors import UsageError
from tests.alerts.support import SECRET, TOKEN, Receiver, receiving

MESSAGE = Message("bmacdb on here: 2 alerts", "❌ 12:51 币安人生USDT missing\n✅ all is well", Level.ERROR)


def dingtalk(receiver: Receiver, secret: str = SECRET) -> AppriseTarget:
    """The target of a robot's URL, with the receiver in the place of DingTalk's host."""
    target = AppriseTarget(f"dingtalk://{secret}@{TOKEN}/")
    target.plugin.notify_url = receiver.url + "/robot/send?access_token={token}"
    return target


def test_a_dingtalk_message_is_signed_as_dingtalk_checks_it() -> None:
    """A receiver that computes the signature itself takes the message, title and text in one."""
    with receiving(SECRET) as receiver:
        dingtalk(receiver).send(MESSAGE)
    assert receiver.refused == 0
    assert [body["text"]["content"] for body in receiver.bodies] == [f"{MESSAGE.title}\n{MESSAGE.body}"]


def test_a_refusal_with_status_200_is_a_failure() -> None:
    """DingTalk refuses with 200 and an errcode: that is told, not taken for a delivery."""
    with receiving(SECRET) as receiver, pytest.raises(SendFailed, match="310000 sign not match") as caught:
        dingtalk(receiver, secret="SECwrongwrong").send(MESSAGE)
    assert "wrongwrong" not in str(caught.value)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("longest_title", [None, 0, 250], ids=["as installed", "in the body", "apart"])
def test_messages_to_robots_begin_with_the_title(longest_title: int | None) -> None:
    """Whether this apprise puts the title into the body or gives it apart: it comes once, then the whole text."""
    with receiving() as receiver:
        targets = open_targets(["wecombot://key-0123/", "feishu://tok0123/", f"dingtalk://{TOKEN}/"])
        targets[0].plugin.api_url = receiver.url
        targets[1].plugin.notify_url = targets[2].plugin.notify_url = receiver.url
        for target in targets:
            if longest_title is not None:
                target.plugin.title_maxlen = longest_title
            target.send(MESSAGE)
    wecom, feishu, dingtalk = receiver.bodies
    for text in (wecom["text"]["content"], feishu["content"]["text"], dingtalk["text"]["content"]):
        assert text.splitlines() == [MESSAGE.title, *MESSAGE.body.splitlines()]


@pytest.mark.parametrize(
    ("robot", "place"),
    [
        ('{"type": "dingding", "error": {"access_token": "f06e5.....", "secret": "SEC439...."}}', "error.access_token"),
        ('{"type": "dingding", "error": {"access_token": "f06e5", "secret": "SEC439...."}}', "error.secret"),
        ('{"type": "dingding", "error": {"access_token": "a b"}}', "error.access_token"),
        (
            '{"type": "wechat_work", "error": {"webhook_url": "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=xxx"}}',
            "error.webhook_url",
        ),
    ],
)
def test_an_examples_token_is_told_with_its_place(robot: str, place: str) -> None:
    """The predecessor's example configurations hold placeholders: the table that they stand in is named."""
    settings = load_settings(flags={"feeds": ("usdt_perp_1m",), "msg_sender": robot}, environ={})
    with pytest.raises(UsageError, match=rf"^msg_sender\.{place}: .*example's.*leave the table out") as caught:
        alert_urls(settings)
    assert "f06e5" not in str(caught.value)


def test_a_webhook_gets_json() -> None:
    """A URL of one's own, through apprise alone."""
    with receiving() as receiver:
        AppriseTarget(receiver.url.replace("http", "json")).send(MESSAGE)
    assert receiver.bodies[0]["title"] == MESSAGE.title
    assert receiver.bodies[0]["message"] == MESSAGE.body
    assert receiver.bodies[0]["type"] == "failure"


@pytest.mark.parametrize("url", [f"dingtalk://{SECRET}@{TOKEN}/", f"json://user:{SECRET}@127.0.0.1:1/{TOKEN}"])
def test_what_cannot_be_reached_is_told_without_secrets(
    url: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither the error, nor a log, nor the console shows token or secret."""
    caplog.set_level(logging.DEBUG)
    target = AppriseTarget(url)
    if "dingtalk" in url:
        target.plugin.notify_url = "http://127.0.0.1:1/robot/send?access_token={token}"
    with pytest.raises(SendFailed) as caught:
        target.send(MESSAGE)
    printed = capfd.readouterr()
    everything = f"{caught.value} {target!r} {target.name} {caplog.text} {printed.out} {printed.err}"
    assert SECRET not in everything
    assert TOKEN not in everything
    assert "onnect" in str(caught.value)


@pytest.mark.parametrize("url", ["jsn://x/hushhush", "dingtalk://hush-hush@tok", "hushhush", "tgram://hushhush"])
def test_a_url_that_cannot_be_used_is_refused_without_showing_it(url: str) -> None:
    """The error names the scheme and where the forms are listed."""
    with pytest.raises(UsageError) as caught:
        AppriseTarget(url)
    assert "hush" not in str(caught.value)
    assert "wiki" in str(caught.value)


def test_the_predecessors_robots_become_urls() -> None:
    """dingding and both types of msg_sender; each target once; the channel `error` is the one that is told."""
    settings = load_settings(
        None,
        {
            "feeds": ("usdt_perp_1m",),
            "alerts": "tgram://123456:abc/1 json://127.0.0.1/a,b",
            "dingding": f'{{"error": {{"access_token": "{TOKEN}", "secret": "{SECRET}"}}, "x": {{}}}}',
            "msg_sender": '{"type": "wechat_work", "error": {"webhook_url": '
            '"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=k-00"}}',
        },
        {},
    )
    assert alert_urls(settings) == (
        "tgram://123456:abc/1",
        "json://127.0.0.1/a,b",
        f"dingtalk://{SECRET}@{TOKEN}/",
        "wecombot://k-00/",
    )
    assert [target.name for target in open_targets(alert_urls(settings))] == [
        "Telegram",
        "JSON",
        "DingTalk",
        "WeCom Bot",
    ]
    shown = f"{settings!r} {settings.shown()}"
    assert all(secret not in shown for secret in (TOKEN, SECRET, "123456", "k-00"))


def test_targets_of_one_kind_are_told_apart() -> None:
    """Two robots of one service have numbers, for their names are all that is shown."""
    targets = open_targets(["dingtalk://tokenone/", "dingtalk://tokentwo/", "json://127.0.0.1/"])
    assert [target.name for target in targets] == ["DingTalk 1", "DingTalk 2", "JSON"]


@pytest.mark.parametrize(
    ("robot", "told"),
    [
        (Robot(secret=SecretStr(SECRET)), "access_token"),
        (Robot(webhook_url=SecretStr("https://relay/x")), "access_token"),
    ],
)
def test_incomplete_robots_are_refused(robot: Robot, told: str) -> None:
    """What is missing is named, what is there is not shown."""
    settings = load_settings(None, {"feeds": ("usdt_perp_1m",)}, {}).model_copy(update={"dingding": {"error": robot}})
    with pytest.raises(UsageError, match="access_token") as caught:
        alert_urls(settings)
    assert SECRET not in str(caught.value)


def test_masking_finds_secrets_in_every_guise() -> None:
    """Plain and percent-encoded, alone and within the whole address."""
    mask = Mask(["mailto://me:p%40ss!word@mail.example.com"])
    assert "p@ss" not in mask("login with p@ss!word failed")
    assert "p%40ss" not in mask("POST mailto://me:p%40ss!word@mail.example.com")
