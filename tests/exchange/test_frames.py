"""Websocket frames: what is taken, what is passed over, and that nothing else ever happens."""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bmacdb.errors import Malformed
from bmacdb.exchange.wire import (
    Ack,
    KlineEvent,
    ServerShutdown,
    SubscribeError,
    parse_control,
    parse_kline_frame,
    stream_of,
)
from bmacdb.model import Candle, Source

OPENED_MS = 1_790_000_040_000 // 60_000 * 60_000
BAR: dict[str, object] = {
    "t": OPENED_MS,
    "T": OPENED_MS + 59_999,
    "s": "AAAUSDT",
    "i": "1m",
    "f": 100,
    "L": 110,
    "o": "10.5",
    "c": "11.0",
    "h": "11.5",
    "l": "10.0",
    "v": "9.090",
    "n": 11,
    "x": True,
    "q": "97.5",
    "V": "3.4",
    "Q": "36.1",
    "B": "0",
}


def event(**changes: object) -> dict[str, object]:
    bar = BAR | changes
    return {"e": "kline", "E": OPENED_MS + 60_021, "s": bar["s"], "k": bar}


def combined(payload: object, stream: str = "aaausdt@kline_1m") -> bytes:
    return json.dumps({"stream": stream, "data": payload}, ensure_ascii=False, separators=(",", ":")).encode()


def recorded_frames(folder: Path) -> Iterator[bytes]:
    for path in sorted((folder / "ws").iterdir()):
        if path.suffix == ".zst":
            with pa.input_stream(str(path), compression="zstd") as stream:
                lines = io.BytesIO(stream.read())
            yield from (json.loads(line)["data"].encode() for line in lines if json.loads(line)["t"] == "recv")
        else:
            for line in path.read_text(encoding="utf-8").splitlines():
                frame = json.loads(line)["frame"]
                if not frame.startswith("["):  # a REST body that stands among them
                    yield frame.encode()


def test_a_closed_bar_becomes_a_candle() -> None:
    """Every field goes where its name says, from a combined frame and from a raw one alike."""
    candle = Candle("AAAUSDT", OPENED_MS, 10.5, 11.5, 10.0, 11.0, 9.09, 97.5, 11, 3.4, 36.1, Source.WS)
    expected = KlineEvent(candle, "1m", OPENED_MS + 60_021)
    assert parse_kline_frame(combined(event())) == expected
    assert parse_kline_frame(json.dumps(event()).encode()) == expected


def test_an_open_bar_is_nothing() -> None:
    """`x` false: whatever its values, the bar is not looked at."""
    assert parse_kline_frame(combined(event(x=False, h="-1"))) is None


def test_a_bar_without_trades_is_fine() -> None:
    """The exchange sends them on spot: no trade ids, no volume, one price."""
    quiet = event(f=-1, L=-1, n=0, o="11", h="11", l="11", c="11", v="0", q="0", V="0", Q="0")
    parsed = parse_kline_frame(combined(quiet))
    assert parsed is not None
    assert parsed.candle.trade_num == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"o": "nan"},
        {"h": "inf"},
        {"v": "Infinity"},
        {"c": "1e999"},
        {"l": "-1", "o": "-0.5"},
        {"h": "10.4"},
        {"l": "10.6"},
        {"q": "-0.1"},
        {"n": -1},
        {"n": 2**63},
        {"t": OPENED_MS + 1},
        {"t": OPENED_MS + 1000},
        {"t": OPENED_MS * 1000},
        {"t": -60_000},
        {"i": "7m"},
        {"s": ""},
        {"x": "perhaps"},
        {"o": None},
        {"o": ""},
        {"o": []},
    ],
    ids=str,
)
def test_what_no_market_can_print_is_malformed(changes: dict[str, object]) -> None:
    """NaN, infinities, negative amounts, a high below the low, an open time off the grid, in µs or before 1970."""
    with pytest.raises(Malformed):
        parse_kline_frame(combined(event(**changes)))


@pytest.mark.parametrize("name", ["t", "o", "h", "l", "c", "v", "q", "n", "x", "V", "Q", "i"])
def test_a_bar_with_a_field_missing_is_malformed(name: str) -> None:
    """A field that we store is never made up."""
    payload = event()
    del payload["k"][name]  # type: ignore[attr-defined]
    with pytest.raises(Malformed):
        parse_kline_frame(combined(payload))


def test_the_excerpt_of_a_malformed_frame_is_short() -> None:
    """A frame of megabytes does not get into the log whole."""
    with pytest.raises(Malformed) as caught:
        parse_kline_frame(b'{"stream":"x' + b"\xff" * 1_000_000)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "payload",
    [
        {"e": "markPriceUpdate", "E": 1, "s": "AAAUSDT", "p": "1.0", "i": "1.0", "r": "", "T": 0},
        {"e": "24hrTicker", "E": 1, "s": "AAAUSDT", "o": "1", "h": "2", "l": "1", "c": "1", "v": "1", "q": "1", "n": 5},
        {"e": "forceOrder", "E": 1, "o": {"s": "AAAUSDT", "S": "SELL"}},
        {"e": "strange", "E": "soon", "s": 5, "k": [1, 2]},
        [{"e": "markPriceUpdate", "E": 1, "s": "AAAUSDT"}],
    ],
    ids=lambda payload: str(payload)[:30],
)
def test_other_events_are_passed_over(payload: object) -> None:
    """Even where their fields share names and not types with a kline's."""
    assert parse_kline_frame(combined(payload)) is None
    assert parse_kline_frame(json.dumps(payload).encode()) is None
    assert parse_control(combined(payload)) is None
    assert parse_control(json.dumps(payload).encode()) is None


def test_the_symbol_of_a_frame_is_found_without_parsing_it() -> None:
    """Lower case, in UTF-8, as the streams are named."""
    assert stream_of(combined(event())) == b"aaausdt"
    assert stream_of(combined({}, "btcusd_261225@kline_1m")) == b"btcusd_261225"
    assert stream_of(combined({}, "币安人生usdt@kline_1m")) == "币安人生usdt".encode()


def test_the_symbol_is_found_in_a_frame_that_is_printed_otherwise() -> None:
    """Spaces or escapes in the head cost some time and no stream."""
    assert stream_of(b'{ "stream" : "aaausdt@kline_1m", "data": {}}') == b"aaausdt"
    assert stream_of(b'{"stream":"\\u5e01usdt@kline_1m","data":{}}') == "币usdt".encode()


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"{",
        b'{"stream":"',
        b'{"stream":"aaausdt',
        b'{"stream":"!serverShutdown","data":{}}',
        b'{"result":null,"id":1}',
        b'{"e":"kline"}',
    ],
)
def test_frames_of_no_stream_have_no_symbol(frame: bytes) -> None:
    """Answers, raw frames and torn ones are for parse_control."""
    assert stream_of(frame) is None


@pytest.mark.parametrize(
    ("frame", "meaning"),
    [
        (b'{"result":null,"id":7}', Ack(7)),
        (b'{"id":7,"result":["aaausdt@kline_1m"]}', Ack(7)),
        (b'{"error":{"code":2,"msg":"Invalid request"},"id":4}', SubscribeError(4, 2, "Invalid request")),
        (b'{"code":3,"msg":"Invalid JSON"}', SubscribeError(None, 3, "Invalid JSON")),
        (b'{"e":"serverShutdown","E":1790000000000}', ServerShutdown()),
        (b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}', ServerShutdown()),
        (b'{"result":null,"id":null}', None),
        (b'{"stream":"!contractInfo","data":{"e":"contractInfo"}}', None),
    ],
)
def test_answers_of_the_exchange_are_understood(frame: bytes, meaning: object) -> None:
    """Acknowledgements, refusals and the announcement that a server goes down."""
    assert parse_control(frame) == meaning


@pytest.mark.parametrize("frame", [b"", b"{}", b"null", b"7", b'"x"', b"\xff\xfe", b"<html>", b'{"id":[]}'])
def test_what_is_no_frame_is_malformed(frame: bytes) -> None:
    """Neither an event nor an answer."""
    with pytest.raises(Malformed):
        parse_control(frame)


def try_all(frame: bytes) -> None:
    assert stream_of(frame) is None or isinstance(stream_of(frame), bytes)
    for parse in (parse_kline_frame, parse_control):
        with contextlib.suppress(Malformed):
            parse(frame)


@given(st.binary(max_size=300))
@example(b'{"a":' * 100_000)
@example(b"[" * 100_000)
@example(b'{"stream":"\xff@kline","data":{"e":"\xff"}}')
@example(b'{"stream":"\\ud800@kline_1m","data":{}}')
def test_any_bytes_are_malformed_or_nothing(frame: bytes) -> None:
    """No bytes at all raise anything but Malformed."""
    try_all(frame)


frames = st.sampled_from([combined(event()), json.dumps(event()).encode(), b'{"error":{"code":2,"msg":"no"},"id":4}'])


@given(
    frame=frames, edits=st.lists(st.tuples(st.integers(0, 500), st.binary(max_size=4), st.integers(0, 4)), max_size=4)
)
def test_mutated_frames_are_malformed_or_still_make_sense(frame: bytes, edits: list[tuple[int, bytes, int]]) -> None:
    """Bytes replaced, put in or left out at any place: whatever is still taken as a bar is one."""
    for place, new, dropped in edits:
        place %= len(frame) + 1
        frame = frame[:place] + new + frame[place + dropped :]
    try_all(frame)
    try:
        parsed = parse_kline_frame(frame)
    except Malformed:
        return
    if parsed is not None:
        candle = parsed.candle
        assert 0 <= candle.low <= min(candle.open, candle.close) <= max(candle.open, candle.close) <= candle.high
        assert candle.high < float("inf")
        assert candle.open_time_ms % 1000 == 0


def values() -> st.SearchStrategy[object]:
    return st.recursive(
        st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ekEsid"), inner, max_size=3),
        max_leaves=6,
    )


@given(changes=st.dictionaries(st.sampled_from([*BAR, "new"]), values(), max_size=4))
def test_any_json_inside_a_bar_is_malformed_or_nothing(changes: dict[str, object]) -> None:
    """Right in form and wrong in type: still nothing but Malformed."""
    try:
        frame = msgspec.json.encode({"stream": "aaausdt@kline_1m", "data": event(**changes)})
    except (msgspec.MsgspecError, UnicodeEncodeError, OverflowError):
        return
    try_all(frame)


def test_every_recorded_frame_parses(real_data: Path) -> None:
    """Spot, USD-M and COIN-M, of 2021 and of 2026: none is malformed, and the closed bars among them are found."""
    seen: Counter[str] = Counter()
    for frame in recorded_frames(real_data):
        symbol = stream_of(frame)
        control, kline = parse_control(frame), parse_kline_frame(frame)
        seen["frames"] += 1
        if kline is not None:
            seen["closed"] += 1
            assert control is None
            assert symbol is None or symbol == kline.candle.symbol.lower().encode()
            assert kline.event_ms >= kline.candle.open_time_ms + 60_000
            assert b"true" in frame
        elif b"@kline_" in frame[:60]:
            seen["open"] += 1
    assert seen["closed"] >= 4
    assert seen["open"] > 50
