"""The faults of the matrix: what goes wrong, for how long, and which recorder it befalls."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CELLS", "Cell"]

_USDT = "market=usdt_futures"


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of the matrix. All seconds are the exchange's own.

    `faults` strike for `seconds` once the first run is complete; those of `before` are there when the recorder starts.
    `after`: how long to wait for the file to be whole when the faults have ended, besides two complete periods.
    `must_strike`: the exchange counts what it did to frames and requests; what happens to symbols and clocks it does
    not.
    """

    name: str
    faults: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    seconds: float = 150.0
    after: float = 0.0
    feed: str = "usdt_perp_1m"
    symbols: int = 10
    num_candles: int = 300
    weight_limit: int | None = 60  # of the futures' 2400: reached by the history of ten symbols
    arguments: tuple[str, ...] = ()
    slower: float = 1.0  # than the other cells, for feeds of seconds
    on_boundary: bool = False
    phase: float | None = None  # seconds after a boundary at which the recorder starts; not before `before` is there
    must_strike: bool = True
    lost: bool = False  # closing frames are lost: `runs` must tell of at least as many repairs
    steady: bool = False  # every run must expect every symbol
    halted: bool = False  # some runs must be halted, and an alert told; in all other cells none may be
    believed: bool = False  # closing frames have wrong values, and nobody else was asked: they stand, and no others


def _lost_and(*faults: str) -> tuple[str, ...]:
    """REST matters only where frames are lost."""
    return ("lost:0.4", *faults)


_SPOT = ("BTC", "ETH", "币安人生", "JUP")
_CHANGING = "changing:1,seconds=8"
_LATE = "late:0.3,seconds=2.2"


def _started(name: str, phase: float, *before: str) -> Cell:
    """A start at a moment that has to be met, so the clock is slow; what happens afterwards is told by other cells."""
    return Cell(name, before=before, phase=phase, seconds=5, slower=5.0, must_strike=False)


CELLS = (
    Cell("closing frames lost, 5 %", ("lost:0.05",), lost=True, seconds=300),
    Cell("closing frames lost, 30 %", ("lost:0.3",), lost=True),
    Cell("closing frames lost, all", ("lost:1",), lost=True),
    Cell("late, past the close timeout", ("late:0.3,seconds=20",)),
    Cell("late, past the deadline, REST down", ("late:0.3,seconds=50", "rest:1,status=503,endpoint=klines")),
    Cell("doubled", ("doubled:0.5",)),
    Cell("out of order", ("swapped:0.3",)),
    Cell("wrong values in the closing frame", ("wrong:0.3",), believed=True),
    Cell("wrong values, late, REST asked first", ("wrong:0.5", "late:1,seconds=30")),
    Cell("socket dies at the boundary", ("dies:0.7",)),
    Cell("socket dies midway, announced", ("dies:0.7,midway=true,announced=true",)),
    Cell("socket dies, refused for 30 s", ("dies:1,refuse_seconds=30",)),
    Cell("socket open and silent", ("silent:1",), must_strike=False),
    Cell("some streams silent until renewed", ("mute:0.3",), must_strike=False),
    Cell("some streams silent until asked again", ("mute:0.3,cure=subscribe",), must_strike=False),
    Cell("some streams silent for good", ("mute:0.3,cure=none",), must_strike=False),
    Cell("peer accepts and closes", ("dies:1", "unwelcome:1")),
    Cell("peer refuses the streams", ("dies:1", "unwelcome:1,how=deny")),
    Cell("garbage and half frames", ("garbage:0.3", "garbage:0.2,shape=half", "garbage:0.2,shape=binary")),
    Cell("REST 5xx", _lost_and("rest:0.5,status=503", "rest:0.2,status=500"), lost=True),
    Cell("REST 429, with Retry-After", _lost_and("rest:1,status=429,retry_after=20,times=3"), lost=True),
    Cell("REST 429, without", _lost_and("rest:1,status=429,times=2"), lost=True, after=120),
    Cell("REST 418, with Retry-After", _lost_and("rest:1,status=418,retry_after=30,times=2"), lost=True),
    Cell("REST 418, without", _lost_and("rest:1,status=418,times=1"), lost=True, after=120),
    Cell("REST answers in HTML", _lost_and("rest:0.6,status=502,html=true"), lost=True),
    Cell("firewall answers 403", _lost_and("blocked:1,status=403"), lost=True, seconds=90, after=180),
    # Six such answers in a row make of a page of history a gap, which is asked for again after 20 and 60 s.
    Cell("REST truncated", _lost_and("truncated:0.6"), lost=True, after=90),
    Cell("REST times out", _lost_and("hang:0.5"), lost=True, arguments=("--http-timeout-sec", "0.5")),
    Cell("REST stale for 10 s after the close", _lost_and("stale:1,seconds=10"), lost=True),
    Cell("REST stale past the deadline", _lost_and("stale:1,seconds=60"), lost=True, after=120),
    _started("REST changing for 8 s, start in mid-minute", 30, _CHANGING),
    _started("REST changing, frames 2.2 s late, start in mid-minute", 30, _CHANGING, _LATE),
    _started("REST changing for 8 s, start after a boundary", 2, _CHANGING),
    _started("REST changing, frames 2.2 s late, start after a boundary", 2, _CHANGING, _LATE),
    Cell("REST changing for 8 s, frames lost", ("lost:0.3", _CHANGING), lost=True),
    Cell(
        "REST changing for 8 s, frames lost, asked after 3 s",
        ("lost:0.3", _CHANGING),
        lost=True,
        slower=2.0,
        arguments=("--candle-close-timeout-sec", "3"),
    ),
    Cell(
        "REST changing for 8 s, frames late, new listing",
        (f"listing,{_USDT},symbol=NEWUSDT,after=20", _CHANGING, _LATE),
        before=(_CHANGING, _LATE),
        after=60,
        slower=2.0,
    ),
    Cell(
        "REST changing for 8 s, frames late, audit", (_CHANGING, _LATE), before=(_CHANGING,), seconds=1900, slower=0.5
    ),
    Cell("REST's last bar still forming", _lost_and("forming:1"), lost=True),
    Cell("nothing can be reached for 90 s", ("dies:1", "refused:1,rest=true"), seconds=90, after=120),
    Cell("local clock 30 s slow", before=("skew,seconds=30",), seconds=60, must_strike=False),
    Cell("local clock 30 s fast", before=("skew,seconds=-30",), seconds=60, must_strike=False),
    Cell("machine stood still for 30 s", ("skew,seconds=30,after=70",), must_strike=False),
    Cell(
        "listed and delisted in mid-period",
        (f"listing,{_USDT},symbol=NEWUSDT,after=20", f"delisting,{_USDT},symbol=ETHUSDT,after=50"),
        after=180,
        must_strike=False,
    ),
    Cell(
        "spot, where a delisted symbol says BREAK",
        ("delisting,market=spot,symbol=ETHUSDT,after=50",),
        feed="usdt_spot_1m",
        weight_limit=None,
        after=120,
        must_strike=False,
    ),
    Cell(
        "halted for 100 s, resumed",
        (f"halt,{_USDT},symbol=ETHUSDT,seconds=100,after=20",),
        after=180,
        must_strike=False,
    ),
    Cell(
        "ticker used again",
        (f"delisting,{_USDT},symbol=ETHUSDT,after=10", f"relisting,{_USDT},symbol=ETHUSDT,after=130"),
        after=180,
        seconds=200,
        must_strike=False,
    ),
    # From some seconds before a boundary to some seconds after it (the faults begin when a run is complete).
    Cell(
        "status: all in BREAK across a boundary",
        ("status,after=50",),
        feed="usdt_spot_1m",
        seconds=15,
        weight_limit=None,
        steady=True,
    ),
    Cell(
        "status: some in BREAK",
        ("status:0.4,after=50",),
        feed="usdt_spot_1m",
        seconds=15,
        weight_limit=None,
        steady=True,
    ),
    Cell("status: half of the list is missing", ("unlisted:0.5,after=50",), seconds=15, steady=True),
    Cell("status: the list is empty", ("unlisted,after=50",), seconds=75, steady=True),
    Cell("status: half of the list is missing for long", ("unlisted:0.5",), seconds=200, steady=True),
    Cell(
        "the market halted for 250 s",
        tuple(f"halt,market=spot,symbol={base}USDT,seconds=250,after=20" for base in _SPOT),
        feed="usdt_spot_1m",
        weight_limit=None,
        symbols=4,
        seconds=270,
        after=60,
        halted=True,
        must_strike=False,
    ),
    Cell(
        "started while the market is halted",
        before=tuple(f"halt,market=spot,symbol={base}USDT,seconds=150" for base in _SPOT),
        feed="usdt_spot_1m",
        weight_limit=None,
        symbols=4,
        seconds=30,
        must_strike=False,
    ),
    Cell("started on a boundary", on_boundary=True, seconds=60, must_strike=False),
    Cell(
        "period shorter than the repair",
        ("lost:0.3",),
        feed="usdt_spot_1s",
        symbols=4,
        weight_limit=None,
        seconds=40,
        after=50,
        slower=7.5,
        lost=True,
    ),
    Cell(
        # Slower, so that the exchange's minute is known well enough on a busy machine.
        "history past the weight limit, time-outs",
        ("lost:0.2",),
        before=("hang:0.15,endpoint=klines,times=10",),
        num_candles=600,
        weight_limit=30,
        seconds=40,
        slower=3.0,
        arguments=("--http-timeout-sec", "0.5"),
    ),
    Cell(
        "all of it at once",
        (
            "lost:0.1",
            "late:0.1,seconds=20",
            "doubled:0.1",
            "swapped:0.1",
            "garbage:0.1",
            "dies:0.2,refuse_seconds=10",
            "mute:0.1",
            "rest:0.1,status=503",
            "rest:1,status=429,retry_after=10,times=1",
            "truncated:0.1",
            "stale:0.3,seconds=10",
            "forming:0.5",
        ),
        after=120,
    ),
)
