"""What the stand-in exchange lists: its symbols, and when each of them traded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

from bmacdb.clock import from_ms, to_ms
from bmacdb.errors import UsageError
from bmacdb.interval import DAY_MS, HOUR_MS, MINUTE_MS
from bmacdb.model import Market

__all__ = ["NEVER_MS", "Instrument", "Life", "funding_hours", "list_market", "new_instrument"]

NEVER_MS = 4133404800000
"""The delivery date of a perpetual: 2100-12-25."""

_FAMOUS = (
    "BTC ETH 币安人生 JUP SYRUP SOL BNB XRP DOGE ADA TRX LINK AVAX SUI LTC BCH DOT 0G 1000SHIB UNI AAVE NEAR ETC FIL "
    "APT ARB OP INJ ATOM XLM HBAR ICP TON TIA SEI ENA WLD LDO CRV MKR"
)
_QUARTER_DELIVERY_HOUR = 8


@dataclass(frozen=True, slots=True)
class Life:
    """One listing under a name: trading from `onboard_ms` until `end_ms` (None: no end in sight)."""

    onboard_ms: int
    end_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Instrument:
    """A symbol. Several lives where its name was used again; halts are stretches [from, until) without trading."""

    market: Market
    symbol: str
    base_asset: str
    quote_asset: str
    contract_type: str | None
    lives: tuple[Life, ...]
    halts: tuple[tuple[int, int], ...] = ()
    delivery_ms: int = NEVER_MS
    pending: bool = False
    forgets: bool = False  # klines answer for the present life alone, as futures do after a name was used again

    @property
    def margin_asset(self) -> str:
        return self.base_asset if self.market is Market.COIN_FUTURES else self.quote_asset

    @property
    def pair(self) -> str:
        return self.base_asset + self.quote_asset

    def life_at(self, now_ms: int) -> Life | None:
        """The life that has begun last; None before the first."""
        return next((life for life in reversed(self.lives) if life.onboard_ms <= now_ms), None)

    def status(self, now_ms: int) -> str | None:
        """As the exchange spells it; None while it is not listed at all."""
        spot = self.market is Market.SPOT
        if self.pending:
            return "PENDING_TRADING"
        life = self.life_at(now_ms)
        if life is None:
            return None
        if life.end_ms is not None and life.end_ms <= now_ms:
            return "BREAK" if spot else "SETTLING"
        if any(start <= now_ms < end for start, end in self.halts):
            return "HALT" if spot else "TRADING_HALT"
        return "TRADING"

    def contract_type_at(self, now_ms: int) -> str | None:
        """Delivery contracts move from NEXT_QUARTER to CURRENT_QUARTER as the one before them is delivered."""
        if self.contract_type != "QUARTER":
            return self.contract_type
        return "CURRENT_QUARTER" if _delivery_after(now_ms) >= self.delivery_ms else "NEXT_QUARTER"

    def changes(self) -> Iterator[int]:
        """The instants at which `describe` changes."""
        for life in self.lives:
            yield life.onboard_ms
            if life.end_ms is not None:
                yield life.end_ms
        for start, end in self.halts:
            yield start
            yield end


def _last_friday(year: int, month: int) -> int:
    first_after = datetime(year + month // 12, month % 12 + 1, 1, _QUARTER_DELIVERY_HOUR, tzinfo=UTC)
    day = first_after - timedelta(days=1)
    return to_ms(day - timedelta(days=(day.weekday() - 4) % 7))


def _deliveries(around_ms: int) -> list[int]:
    """Quarterly delivery dates from a year before to two years after."""
    year = from_ms(around_ms).year
    return [_last_friday(y, month) for y in range(year - 1, year + 3) for month in (3, 6, 9, 12)]


def _delivery_after(now_ms: int) -> int:
    return next(date for date in _deliveries(now_ms) if date > now_ms)


def _bases(count: int, *, ascii_only: bool) -> list[str]:
    famous = [base for base in _FAMOUS.split() if base.isascii() or not ascii_only]
    return (famous + [f"X{number:04d}" for number in range(count)])[:count]


def _born(market: Market, symbol: str, start_ms: int) -> int:
    """An onboard date one to six years back, at a whole hour."""
    dice = int.from_bytes(blake2b(f"{market}{symbol}".encode(), digest_size=4).digest(), "little")
    return (start_ms - (400 + dice % 1800) * DAY_MS) // DAY_MS * DAY_MS + dice % 24 * HOUR_MS


def list_market(market: Market, count: int, *, start_ms: int, recent: int = 0) -> list[Instrument]:
    """The symbols of a market: `count` trading ones of its main trade type, and a few of every other kind.

    The last `recent` of the former were listed only hours before `start_ms`.
    """
    match market:
        case Market.SPOT:
            made = _list_spot(count, start_ms)
        case Market.USDT_FUTURES:
            made = _list_usdt_futures(count, start_ms)
        case Market.COIN_FUTURES:
            made = _list_coin_futures(count, start_ms)
    main = [_make(market, *item, start_ms=start_ms) for item in made[:count]]
    for place in range(max(count - recent, 1), count):
        hours = 3 + 2 * (count - place)
        onboard = (start_ms - hours * HOUR_MS) // MINUTE_MS * MINUTE_MS
        main[place] = Instrument(market, *made[place][:4], lives=(Life(onboard),))
    others = [_make(market, *item, start_ms=start_ms) for item in made[count:]]
    return main + others + (_quarters(market, start_ms) if market is not Market.SPOT else [])


def new_instrument(market: Market, symbol: str, *, onboard_ms: int) -> Instrument:
    """A perpetual or spot pair called `symbol`. Raises UsageError for a name that fits no quote asset."""
    name = symbol.removesuffix("_PERP") if market is Market.COIN_FUTURES else symbol
    quotes = ("USD",) if market is Market.COIN_FUTURES else ("USDT", "USDC", "BTC")
    quote = next((quote for quote in quotes if name.endswith(quote) and name != quote), None)
    if quote is None:
        raise UsageError(f"symbol {symbol!r} of {market} does not end in {' or '.join(quotes)}.")
    contract = None if market is Market.SPOT else "PERPETUAL"
    return Instrument(market, symbol, name.removesuffix(quote), quote, contract, (Life(onboard_ms),))


_Item = tuple[str, str, str, str | None, str]


def _make(
    market: Market, symbol: str, base: str, quote: str, contract: str | None, state: str, *, start_ms: int
) -> Instrument:
    onboard = _born(market, symbol, start_ms)
    ended = (start_ms - 40 * DAY_MS) // DAY_MS * DAY_MS + 9 * HOUR_MS
    lives = (Life(onboard, ended if state == "ended" else None),)
    return Instrument(market, symbol, base, quote, contract, lives, pending=state == "pending")


def _list_spot(count: int, start_ms: int) -> list[_Item]:
    main: list[_Item] = [(f"{b}USDT", b, "USDT", None, "") for b in _bases(count, ascii_only=False)]
    others = [
        *((base, "USDT", "") for base in ("USDC", "FDUSD", "BTCUP", "BTCDOWN", "ETHBULL", "ETHBEAR")),
        *((base, "USDC", "") for base in ("BTC", "ETH", "SOL")),
        *((base, "BTC", "") for base in ("ETH", "SOL", "BNB")),
        *((base, "USDT", "ended") for base in ("LUNC1", "OLDCOIN")),
    ]
    return main + [(base + quote, base, quote, None, state) for base, quote, state in others]


def _list_usdt_futures(count: int, start_ms: int) -> list[_Item]:
    main: list[_Item] = [(f"{b}USDT", b, "USDT", "PERPETUAL", "") for b in _bases(count, ascii_only=False)]
    others = [
        *((base, "USDC", "PERPETUAL", "") for base in ("BTC", "ETH", "SOL")),
        ("ETH", "BTC", "PERPETUAL", ""),
        *((base, "USDT", "TRADIFI_PERPETUAL", "") for base in ("XAU", "TSLA", "NVDA")),
        *((base, "USDT", "PERPETUAL", "ended") for base in ("GONE", "SETTLED1", "LONGAGO")),
        ("SOON", "USDT", "PERPETUAL", "pending"),
    ]
    return main + [(base + quote, base, quote, contract, state) for base, quote, contract, state in others]


def _list_coin_futures(count: int, start_ms: int) -> list[_Item]:
    bases = _bases(count, ascii_only=True)
    main: list[_Item] = [(f"{b}USD_PERP", b, "USD", "PERPETUAL", "") for b in bases]
    return [*main, ("GONEUSD_PERP", "GONE", "USD", "PERPETUAL", "ended")]


def _quarters(market: Market, start_ms: int) -> list[Instrument]:
    """Delivery contracts of BTC and ETH, those to come included: each is listed when the one two before it ends."""
    quote = "USD" if market is Market.COIN_FUTURES else "USDT"
    dates = _deliveries(start_ms)
    first = dates.index(_delivery_after(start_ms))
    return [
        Instrument(
            market,
            f"{base}{quote}_{from_ms(dates[place]):%y%m%d}",
            base,
            quote,
            "QUARTER",
            (Life(dates[place - 2], dates[place]),),
            delivery_ms=dates[place],
        )
        for base in ("BTC", "ETH")
        for place in range(first - 1, min(first + 5, len(dates)))
    ]


def funding_hours(instrument: Instrument) -> int:
    """Hours between fundings: 8 for most, 4 or 1 for some; 0 for what has none."""
    if instrument.contract_type not in ("PERPETUAL", "TRADIFI_PERPETUAL"):
        return 0
    if instrument.base_asset in ("BTC", "ETH"):
        return 8
    return (8, 8, 8, 4, 8, 8, 1, 4)[sum(instrument.symbol.encode()) % 8]
