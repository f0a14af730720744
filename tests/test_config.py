"""Settings: what each source gives, who wins, and what a mistake is told like."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from bmacdb.config import OPTIONS, Settings, load_settings
from bmacdb.errors import ConfigError, UsageError
from bmacdb.model import Market
from bmacdb.symbols import SpotAssets

TOML = "bmacdb.toml"
JSON = "config.json"
FEED = {"feeds": ("usdt_perp_5m",)}


def load(home: Path, environ: dict[str, str] | None = None, **flags: object) -> Settings:
    return load_settings(home, flags, environ or {})


def refused(home: Path, environ: dict[str, str] | None = None, **flags: object) -> str:
    with pytest.raises(UsageError) as caught:
        load(home, environ, **flags)
    return str(caught.value)


def names(settings: Settings) -> list[str]:
    return [feed.name for feed in settings.feeds]


def test_the_minimal_configuration_of_the_predecessor_is_enough(tmp_path: Path) -> None:
    """`{"interval": "1m", "trade_type": "usdt_deli"}` gives the documented defaults."""
    (tmp_path / JSON).write_text('{"interval": "1m", "trade_type": "usdt_deli"}')
    settings = load(tmp_path)
    assert names(settings) == ["usdt_deli_1m"]
    assert settings.db == tmp_path / "bmac.duckdb"
    assert (settings.num_candles, settings.funding_rate, settings.keep_symbols) == (1500, False, None)
    assert (settings.http_timeout_sec, settings.candle_close_timeout_sec) == (5, 15)
    assert (settings.num_rest_fetchers, settings.num_socket_listeners) == (8, 8)
    assert settings.warnings == ()


def test_every_option_of_the_predecessor_is_read(tmp_path: Path) -> None:
    """A full config.json is taken as it is, robots included; save_type earns a warning."""
    full = {
        "interval": "5m",
        "trade_type": "usdt_swap",
        "num_candles": 3000,
        "funding_rate": True,
        "keep_symbols": ["BTCUSDT", "ethusdt", "BTCUSDT"],
        "http_timeout_sec": 7,
        "candle_close_timeout_sec": 20,
        "num_rest_fetchers": 4,
        "num_socket_listeners": 2,
        "save_type": "feather",
        "dingding": {"error": {"access_token": "f00", "secret": "SEC00"}},
        "msg_sender": {"type": "wechat_work", "error": {"webhook_url": "https://qyapi.example/send?key=k00"}},
    }
    (tmp_path / JSON).write_bytes(b"\xef\xbb\xbf" + json.dumps(full).encode())  # with the mark of Windows editors
    settings = load(tmp_path)
    assert names(settings) == ["usdt_perp_5m"]
    assert settings.keep_symbols == ("BTCUSDT", "ETHUSDT")
    assert settings.dingding is not None
    assert settings.msg_sender is not None
    secret = settings.dingding["error"].secret
    webhook = settings.msg_sender.channels["error"].webhook_url
    assert secret is not None
    assert webhook is not None
    assert secret.get_secret_value() == "SEC00"
    assert webhook.get_secret_value().endswith("k00")
    assert any("save_type" in warning for warning in settings.warnings)


def test_later_sources_win(tmp_path: Path) -> None:
    """Defaults, then the file, then the environment, then flags."""
    (tmp_path / TOML).write_text('feeds = ["usdt_perp_5m"]\nnum_candles = 100\nnum_rest_fetchers = 2\nperiods = 7\n')
    environ = {"BMACDB_NUM_CANDLES": "200", "BMACDB_NUM_REST_FETCHERS": "3", "BMACDB_FUNDING_RATE": "true"}
    settings = load(tmp_path, environ, num_candles="300")
    assert (settings.num_candles, settings.num_rest_fetchers, settings.periods) == (300, 3, 7)
    assert settings.funding_rate is True


def test_an_empty_variable_counts_as_unset(tmp_path: Path) -> None:
    """`BMACDB_PROXY= bmacdb run` is no proxy, and no error."""
    assert load(tmp_path, {"BMACDB_PROXY": " "}, **FEED).proxy is None


def test_toml_wins_over_config_json_with_a_warning(tmp_path: Path) -> None:
    """Both files present: bmacdb.toml is used and the other one is named."""
    (tmp_path / TOML).write_text('feeds = ["usdt_perp_5m"]')
    (tmp_path / JSON).write_text('{"interval": "1m", "trade_type": "usdt_deli"}')
    settings = load(tmp_path)
    assert names(settings) == ["usdt_perp_5m"]
    assert any("config.json" in warning for warning in settings.warnings)


RIGHT: dict[str, tuple[object, ...]] = {
    "feeds": (["usdt_perp_1m"],),
    "resample": (["1h"],),
    "keep_symbols": (["BTCUSDT"],),
    "spot_include": (["FDUSD"],),
    "spot_exclude": (["PAXG"],),
    "alerts": (["json://127.0.0.1/"],),
    "dingding": ({"error": {"access_token": "f00"}},),
    "msg_sender": ({"type": "dingding"},),
    "funding_rate": (True, False),
}
"""Values of the settings that are neither text nor numbers."""

OF_EACH_TYPE: tuple[object, ...] = (True, 1500, "text", "1500", "", ["text"], [1500], {"a": "text"}, {"a": 1500})


def as_toml(value: object) -> str:
    """JSON is TOML, but for the sign between a key and its value."""
    return json.dumps(value).replace('": ', '" = ')


@pytest.mark.parametrize("name", sorted(OPTIONS))
@pytest.mark.parametrize("file", [TOML, JSON])
def test_a_value_of_another_type_is_refused_with_its_place(tmp_path: Path, file: str, name: str) -> None:
    """Every setting, with a value of every other type, in both files: a slip is never taken for something else."""
    numbers = {"num_candles", "keep", "periods", "clock_rate"}
    numbers |= {known for known in OPTIONS if known.startswith("num_") or known.endswith(("_sec", "_port"))}
    right: type | tuple[type, ...] = type(RIGHT[name][0]) if name in RIGHT else (int, float) if name in numbers else str
    for value in OF_EACH_TYPE:
        if isinstance(value, right) and not (right == (int, float) and isinstance(value, bool)) and value != "":
            continue
        entry = f"{name} = {as_toml(value)}" if file == TOML else f'{{"{name}": {json.dumps(value)}}}'
        (tmp_path / file).write_text(entry)
        flags = {} if name in ("feeds", "interval", "trade_type") else FEED
        with pytest.raises(UsageError) as caught:
            load(tmp_path, **flags)
        assert f"{file}, line 1: {name}" in str(caught.value), (value, str(caught.value))


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("funding_rate", "yes", "Write true, without quotes."),
        ("funding_rate", 0, "Write false, without quotes."),
        ("keep_symbols", "BTCUSDT, ETHUSDT", 'Write ["BTCUSDT", "ETHUSDT"].'),
        ("num_candles", "1500", "Write 1500, without quotes."),
        ("http_timeout_sec", "2.5", "Write 2.5, without quotes."),
        ("feeds", "usdt_perp_1m", 'Write ["usdt_perp_1m"].'),
    ],
)
def test_a_value_of_another_type_is_told_as_it_should_be_written(
    tmp_path: Path, name: str, value: object, remedy: str
) -> None:
    """Where the meaning is plain, the message has the value in its right form."""
    (tmp_path / JSON).write_text(json.dumps({name: value}))
    with pytest.raises(UsageError) as caught:
        load(tmp_path, **({} if name == "feeds" else FEED))
    assert str(caught.value).endswith(remedy)


def test_tables_of_other_commands_are_left_alone(tmp_path: Path) -> None:
    """`[factors]` may hold anything."""
    (tmp_path / TOML).write_text('feeds = ["usdt_perp_5m"]\n[factors]\nlist = [["PctChg", 100]]\nwhatever = 1\n')
    assert names(load(tmp_path)) == ["usdt_perp_5m"]


def test_flags_replace_the_feeds_of_the_file_as_a_whole(tmp_path: Path) -> None:
    """A feed on the command line replaces interval and trade_type of the file, and the other way round."""
    (tmp_path / TOML).write_text('interval = "1m"\ntrade_type = "usdt_deli"\n')
    assert names(load(tmp_path, **FEED)) == ["usdt_perp_5m"]
    assert names(load(tmp_path, interval="15m")) == ["usdt_deli_15m"]
    (tmp_path / TOML).write_text('feeds = ["usdt_perp_5m", "usdt_spot_1mo"]\n')
    assert names(load(tmp_path)) == ["usdt_perp_5m", "usdt_spot_1mo"]
    assert names(load(tmp_path, interval="1m", trade_type="coin_perp")) == ["coin_perp_1m"]
    assert "trade_type is missing beside --interval" in refused(tmp_path, interval="1m")


def test_feed_and_interval_from_one_source_contradict(tmp_path: Path) -> None:
    """Both on the command line, or both in the file, is an error that names the two places."""
    text = refused(tmp_path, interval="1m", trade_type="usdt_perp", **FEED)
    assert "--feed" in text
    assert "--interval and --trade-type" in text
    (tmp_path / TOML).write_text('feeds = ["usdt_perp_5m"]\ninterval = "1m"\n')
    assert "line 1: feeds" in refused(tmp_path)


def test_feeds_given_twice_are_recorded_once(tmp_path: Path) -> None:
    """The same feed again, also under the predecessor's other name, is one feed and a warning."""
    settings = load(tmp_path, feeds=("usdt_swap_5m", "usdt_perp_5m", "usdt_spot_1m"))
    assert names(settings) == ["usdt_perp_5m", "usdt_spot_1m"]
    assert any("usdt_swap_5m, usdt_perp_5m" in warning for warning in settings.warnings)


def test_nothing_to_record_says_what_to_give(tmp_path: Path) -> None:
    """Without any feed the error shows both ways to name one."""
    text = refused(tmp_path)
    assert "--interval 1m --trade-type usdt_perp" in text
    assert "--feed usdt_perp_1m" in text


def test_funding_on_spot_is_switched_off_with_a_warning(tmp_path: Path) -> None:
    """Spot alone: off. Spot beside futures: on for these. Both times it is said."""
    settings = load(tmp_path, feeds=("usdt_spot_1m",), funding_rate=True)
    assert settings.funding_rate is False
    assert any("--funding-rate" in warning for warning in settings.warnings)
    settings = load(tmp_path, feeds=("usdt_spot_1m", "usdt_perp_1m"), funding_rate=True)
    assert settings.funding_rate is True
    assert any("usdt_spot_1m" in warning for warning in settings.warnings)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('trade_type = "usdt_deali"', ["line 2: trade_type", "'usdt_deali'", "Did you mean usdt_deli?"]),
        ('interval = "1mm"', ["line 2: interval", "'1mm'", "Did you mean 1m?"]),
        ('interval = "60m"', ["line 2: interval", "Did you mean 1h?"]),
        ('interval = "7Min"', ["line 2: interval", "Did you mean 5m?"]),
        ('interval = "1mo"', ["line 2: interval", "Did you mean 1M?"]),
        ("interval = 5", ["line 2: interval", "5 is not an interval"]),
        ("num_candles = 10001", ["line 2: num_candles", "10001", "from 1 to 10000", "nearest is 10000"]),
        ("num_candles = 0", ["line 2: num_candles", "nearest is 1."]),
        ("num_candles = true", ["line 2: num_candles", "True is not a whole number"]),
        ("num_candles = 1.5", ["line 2: num_candles", "1.5 is not a whole number"]),
        ("num_candels = 10", ["line 2: num_candels", "no such setting", "Did you mean num_candles?"]),
        ("http_timeout_sec = nan", ["line 2: http_timeout_sec", "seconds, from 0.1 to 600"]),
        ("http_timeout_sec = 0", ["line 2: http_timeout_sec", "nearest is 0.1"]),
        ("candle_close_timeout_sec = 60", ["line 2: candle_close_timeout_sec", "nearest is 40"]),
        ("num_socket_listeners = 0", ["line 2: num_socket_listeners", "nearest is 1"]),
        ('funding_rate = "ture"', ["line 2: funding_rate", "'ture'", "Did you mean true?"]),
        ("keep_symbols = []", ["line 2: keep_symbols", "empty list", "Leave it out"]),
        ("keep_symbols = [1]", ["line 2: keep_symbols", "a list of symbols"]),
        ("keep = 100", ["line 2: keep", "100 is less than num_candles", "nearest is 1500"]),
        ('save_type = "parket"', ["line 2: save_type", "Did you mean parquet?"]),
        ('log_format = "jsn"', ["line 2: log_format", "Did you mean json?"]),
        ('timezone = "asia/shangai"', ["line 2: timezone", "Did you mean Asia/Shanghai?"]),
        ('rest_url = "localhost:90"', ["line 2: rest_url", "Did you mean http://localhost:90?"]),
        ('rest_url = "https://h?x=1"', ["line 2: rest_url", "has a query", "Did you mean https://h?"]),
        ('proxy = "http://h:1/path"', ["line 2: proxy", "has a path", "Did you mean http://h:1?"]),
        ('ws_url = "https://h:1"', ["line 2: ws_url", "Did you mean wss://h:1?"]),
        ('proxy = "ftp://h:1"', ["line 2: proxy", "http://h:1"]),
        ("periods = 0", ["line 2: periods", "1 or more"]),
        ('db = "no/such/place.duckdb"', ["line 2: db", "does not exist"]),
        ('db = "."', ["line 2: db", "is a directory"]),
        ("dingding = 5", ["line 2: dingding", "access_token"]),
    ],
)
def test_a_wrong_value_in_the_file_is_told_with_place_and_nearest(tmp_path: Path, line: str, told: list[str]) -> None:
    """The error names file, line, key, value, what was expected and the nearest valid one."""
    (tmp_path / TOML).write_text(f"# settings\n{line}\n")
    key = line.partition(" ")[0]
    flags = {"trade_type": {"interval": "1m"}, "interval": {"trade_type": "usdt_perp"}}.get(key, FEED)
    text = refused(tmp_path, **flags)
    assert [part for part in [TOML, *told] if part not in text] == []


def test_environment_and_flags_are_named_as_the_user_wrote_them(tmp_path: Path) -> None:
    """`environment BMACDB_NUM_CANDLES` and `--num-candles`, not the inner names."""
    assert refused(tmp_path, {"BMACDB_NUM_CANDLES": "many"}, **FEED).startswith(
        "environment BMACDB_NUM_CANDLES: 'many'"
    )
    assert refused(tmp_path, num_candles="0", **FEED).startswith("--num-candles: '0'")
    assert refused(tmp_path, feeds=("usdt_prep_5m",)).startswith("--feed: trade type 'usdt_prep'")
    assert "1s' exists on spot alone" in refused(tmp_path, interval="1s", trade_type="usdt_perp")


def test_a_variable_that_nearly_names_a_setting_is_warned_of(tmp_path: Path) -> None:
    """BMACDB_NUM_CANDELS is told; variables of the prefix that resemble nothing are left alone."""
    warnings = load(tmp_path, {"BMACDB_NUM_CANDELS": "5", "BMACDB_XYZZY_TEST": "1"}, **FEED).warnings
    assert len(warnings) == 1
    assert "Did you mean BMACDB_NUM_CANDLES?" in warnings[0]


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Five mistakes in three sources are one message."""
    (tmp_path / TOML).write_text('interval = "1mm"\ntrade_type = "usdt_deali"\nnum_candels = 3\n')
    text = refused(tmp_path, {"BMACDB_PERIODS": "0"}, keep="x")
    assert text.startswith("5 settings cannot be used")
    assert text.count("\n") == 5


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (TOML, b'interval = "1m"\ntrade_type = \n', ["line 2, column 14", "not TOML"]),
        (TOML, b'interval = "1m"\ninterval = "5m"\n', ["not TOML", "line 2"]),
        (TOML, b'interval = "1m', ["not TOML", "at the end"]),
        (TOML, b"\xff\xfe", ["not UTF-8"]),
        (JSON, b'{"interval": "1m"\n "trade_type": "x"}', ["line 2, column 2", "not JSON"]),
        (JSON, b'["1m"]', ["an object is wanted"]),
        (JSON, b'{"interval": "1m", "interval": "5m"}', ["interval", "twice"]),
        (JSON, b"", ["line 1, column 1", "not JSON"]),
    ],
)
def test_a_malformed_file_is_told_with_line_and_column(
    tmp_path: Path, name: str, content: bytes, told: list[str]
) -> None:
    """Where the text stops being what it should be is named, and nothing else is read."""
    (tmp_path / name).write_bytes(content)
    text = refused(tmp_path, **FEED)
    assert [part for part in [name, *told] if part not in text] == []


def test_a_place_without_a_certain_line_names_the_key_alone(tmp_path: Path) -> None:
    """Where a key's name stands twice the line is left out rather than guessed."""
    (tmp_path / JSON).write_text('{"interval": "1m", "trade_type": "usdt_perp", "dingding": {"keep": {}}, "keep": 1}')
    assert refused(tmp_path).startswith(f"{tmp_path / JSON}: keep: 1 is less")


SECRETS = ("t0k3n", "SECxyz", "k00k00", "pa55")


@pytest.mark.parametrize(
    "content",
    [
        '{"dingding": {"error": {"access_token": "t0k3n", "secret": "SECxyz"}}, "proxy": "http://u:pa55@h:1"}',
        '{"dingding": {"error": {"acces_token": "t0k3n", "secret": "SECxyz"}}}',
        '{"dingding": "t0k3n"}',
        '{"dingding": {"error": "t0k3n"}}',
        '{"dingding": {"error": {"access_token": ["t0k3n"]}}}',
        '{"msg_sender": {"type": "pa55", "error": {"webhook_url": "https://h/send?key=k00k00"}}}',
        '{"msg_sender": {"type": "wechat_work", "error": {"webhook_url": "https://h/send?key=k00k00", "x": "pa55"}}}',
        '{"msg_sender": {"type": "wechat_work", "error": {"webhook_url": "https://h/send?key=k00k00"}}}',
        '{"proxy": "socks5://u:pa55@h:1"}',
        '{"proxy": "u:pa55@h"}',
        '{"proxy": "http://u:pa55@h:99999"}',
        '{"proxy": "http://u:pa55@[::1"}',
        '{"proxy": "http://u:pa55@h/path"}',
        '{"proxy": "http://u:12/pa55@h"}',
        '{"proxy": "http://pa55:12/x@h"}',
        '{"rest_url": "https://u:pa55@h:1"}',
        '{"timezone": "http://u:pa55@h"}',
    ],
)
def test_no_secret_is_ever_printed(tmp_path: Path, content: str) -> None:
    """Tokens, secrets, webhook keys and proxy passwords stand in no error, header or repr."""
    (tmp_path / JSON).write_text(content)
    try:
        settings = load(tmp_path, **FEED)
        text = f"{settings!r} {settings} {settings.shown()} {settings.warnings}"
    except UsageError as exc:
        text = str(exc)
        assert JSON in text
    assert [secret for secret in SECRETS if secret in text] == []


def test_a_table_may_come_as_json_text_or_from_a_file(tmp_path: Path) -> None:
    """The environment gives JSON, a flag gives @FILE, so that no secret need stand on a command line."""
    table = '{"error": {"access_token": "t"}}'
    (tmp_path / "robot.json").write_text(table)
    for environ, flags in (
        ({"BMACDB_DINGDING": table}, {}),
        ({}, {"dingding": f"@{tmp_path / 'robot.json'}"}),
    ):
        settings = load(tmp_path, environ, **FEED, **flags)
        assert settings.dingding is not None
        assert settings.dingding["error"].access_token is not None
    assert "--dingding: cannot read the file no-such-file" in refused(tmp_path, dingding="@no-such-file", **FEED)
    assert "--alerts: cannot read the file no-such-file" in refused(tmp_path, alerts="@no-such-file", **FEED)


def test_the_environments_proxy_is_used_but_never_for_this_machine(tmp_path: Path) -> None:
    """HTTPS_PROXY applies unless NO_PROXY excepts the exchange or the exchange is a stand-in on loopback."""
    environ = {"https_proxy": "http://h:1"}
    assert load(tmp_path, environ, **FEED).proxy == "http://h:1"
    assert load(tmp_path, environ, proxy="http://other:2", **FEED).proxy == "http://other:2"
    assert load(tmp_path, environ, rest_url="http://127.0.0.1:5", **FEED).proxy is None
    assert load(tmp_path, environ | {"NO_PROXY": ".binance.com"}, **FEED).proxy is None


def test_all_proxy_is_used_where_https_proxy_is_not_given(tmp_path: Path) -> None:
    """As curl has it, in either case of letters; SOCKS proxies too."""
    environ = {"ALL_PROXY": "socks5h://h:1"}
    assert load(tmp_path, environ, **FEED).proxy == "socks5h://h:1"
    assert load(tmp_path, environ | {"https_proxy": "http://h:2"}, **FEED).proxy == "http://h:2"
    assert load(tmp_path, {"all_proxy": "h:3"}, **FEED).proxy == "http://h:3"
    assert load(tmp_path, environ | {"no_proxy": "*"}, **FEED).proxy is None


def test_spot_may_leave_out_more_or_less(tmp_path: Path) -> None:
    """From every source, in either case of letters; an asset in both lists is a mistake."""
    (tmp_path / "bmacdb.toml").write_text('spot_include = ["fdusd"]\n')
    settings = load(tmp_path, {"BMACDB_SPOT_EXCLUDE": "paxg, XAUT"}, **FEED)
    assert settings.spot_assets == SpotAssets(frozenset({"FDUSD"}), frozenset({"PAXG", "XAUT"}))
    assert dict(settings.shown())["spot_exclude"] == "PAXG,XAUT"
    assert "FDUSD" in refused(tmp_path, spot_exclude=("FDUSD",), **FEED)


def test_each_market_may_have_addresses_of_its_own(tmp_path: Path) -> None:
    """In the file as tables, in the environment and as flags by name; the later wins, the others stay."""
    (tmp_path / "bmacdb.toml").write_text(
        'rest_url = "https://all"\n[exchange.spot]\nrest_url = "https://spot/relay/"\nws_url = "wss://spot"\n'
        '[exchange.coin_futures]\nws_url = "wss://coin/stream"\n'
    )
    settings = load(tmp_path, {"BMACDB_USDT_FUTURES_REST_URL": "https://usdt"}, spot_ws_url="wss://flag", **FEED)
    assert settings.rest_url == "https://all"
    assert settings.addresses(Market.SPOT) == ("https://spot/relay", "wss://flag")
    assert settings.addresses(Market.USDT_FUTURES) == ("https://usdt", None)
    assert settings.addresses(Market.COIN_FUTURES) == (None, "wss://coin/stream")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[exchange.spott]\nrest_url = "https://h"', ["exchange.spott", "no such market", "Did you mean spot?"]),
        ('[exchange.spot]\nrest_ur = "https://h"', ["exchange.spot.rest_ur", "Did you mean rest_url?"]),
        ('[exchange.spot]\nrest_url = "h"', ["exchange.spot.rest_url", "Did you mean http://h?"]),
        ('[exchange]\nspot = "https://h"', ["exchange.spot", "a table with rest_url and ws_url"]),
        ('exchange = "https://h"', ["exchange", "a table of markets"]),
    ],
)
def test_a_wrong_address_of_a_market_is_told_with_its_place(tmp_path: Path, text: str, told: list[str]) -> None:
    (tmp_path / "bmacdb.toml").write_text(text)
    message = refused(tmp_path, **FEED)
    assert "bmacdb.toml" in message
    for part in told:
        assert part in message


def test_a_directory_that_is_none_is_told(tmp_path: Path) -> None:
    """DIR must exist and be a directory."""
    (tmp_path / "file").touch()
    assert "create it first" in refused(tmp_path / "nowhere", **FEED)
    assert "it is a file" in refused(tmp_path / "file", **FEED)


def test_the_database_of_a_file_lies_beside_it(tmp_path: Path) -> None:
    """A relative db in the file is relative to DIR, one on the command line to the working directory."""
    (tmp_path / TOML).write_text('db = "other.duckdb"')
    assert load(tmp_path, **FEED).db == tmp_path / "other.duckdb"
    assert load(tmp_path, db="mine.duckdb", **FEED).db == Path("mine.duckdb")


def test_nothing_is_touched(tmp_path: Path) -> None:
    """Loading settings, good or bad, leaves the directory as it was."""
    load(tmp_path, **FEED)
    refused(tmp_path, num_candles="0", **FEED)
    assert list(tmp_path.iterdir()) == []


def test_the_header_shows_the_core_and_what_differs_from_defaults(tmp_path: Path) -> None:
    """The predecessor's five first, in its words."""
    settings = load(tmp_path, interval="1m", trade_type="usdt_deli", keep="2000", timezone="Asia/Shanghai")
    assert settings.shown() == (
        ("interval", "1m"),
        ("type", "usdt_deli"),
        ("num_candles", "1500"),
        ("funding_rate", "False"),
        ("keep_symbols", "None"),
        ("keep", "2000"),
        ("timezone", "Asia/Shanghai"),
    )


def test_settings_are_frozen_and_know_every_option() -> None:
    """What can be given is what Settings holds: a setting added to one must be added to the other."""
    settings = Settings(feeds=("usdt_perp_5m",))  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        settings.num_candles = 5  # type: ignore[misc]
    assert set(OPTIONS) - {"interval", "trade_type"} == set(Settings.model_fields) - {"warnings"}


SAMPLES = {
    "interval": "5m",
    "trade_type": "usdt_perp",
    "feeds": "usdt_spot_1m",
    "resample": "1h",
    "funding_rate": "true",
    "proxy": "http://h:1",
    "publish": "tcp://127.0.0.1:9800",
    "publish_key": "0" * 40,
    "alerts": "json://127.0.0.1/",
    "dingding": '{"error": {"access_token": "f00"}}',
    "msg_sender": '{"type": "dingding"}',
    "metrics_host": "127.0.0.2",
    "save_type": "feather",
    "layout": "bmac",
    "log_format": "json",
    "timezone": "UTC",
}
"""Text for settings that take no number and no plain name."""


@pytest.mark.parametrize("name", OPTIONS)
def test_every_setting_has_an_option_an_environment_name_and_its_help(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """Through the real command: the option and the variable give the same settings, and help shows the default."""
    from typer.testing import CliRunner

    import bmacdb.config
    from bmacdb.cli.main import build
    from bmacdb.settings import shown_default
    from bmacdb.sources import flag_of

    addresses = {"_rest_url": "http://h:1", "_ws_url": "ws://h:1"}
    by_end = next((text for end, text in addresses.items() if f"_{name}".endswith(end)), None)
    text = SAMPLES.get(name) or by_end or ("2000" if name in ("num_candles", "keep") else "9")
    base = {"interval": ("--trade-type", "usdt_perp"), "trade_type": ("--interval", "5m"), "feeds": ()}
    rest = base.get(name, ("--feed", "usdt_perp_5m"))
    runner, load, seen = CliRunner(), bmacdb.config.load_settings, list[Settings]()

    def loaded(*arguments: object) -> Settings:
        # Warnings name the place, which differs.
        seen.append(load(*arguments).model_copy(update={"warnings": ()}))  # type: ignore[arg-type]
        raise UsageError("enough seen")

    monkeypatch.setattr(bmacdb.config, "load_settings", loaded)
    given = [flag_of(name)] if name == "funding_rate" else [flag_of(name), text]
    runner.invoke(build(), ["run", str(tmp_path), *given, *rest])
    monkeypatch.setenv(f"BMACDB_{name.upper()}", text)
    if name in ("interval", "trade_type"):
        other = {"interval": "trade_type", "trade_type": "interval"}[name]
        monkeypatch.setenv(f"BMACDB_{other.upper()}", SAMPLES[other])
        rest = ()
    runner.invoke(build(), ["run", str(tmp_path), *rest])
    assert len(seen) == 2
    assert seen[0] == seen[1]
    shown = " ".join(runner.invoke(build(), ["run", "--help"], terminal_width=400).stdout.split())
    option = OPTIONS[name]
    if not option.hidden:
        assert f"{flag_of(name)} " in shown
        default = shown_default(name)
        assert option.help + (f" [default: {default}]" if default else "") in shown


def test_a_single_mistake_carries_its_place(tmp_path: Path) -> None:
    """Programs find the place in the exception."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, num_candles="0", **FEED)
    assert caught.value.place == "--num-candles"
