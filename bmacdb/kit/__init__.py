"""BmacKit: factors for live trading and for research, over the recorder's database."""

from bmacdb.kit.calculators import BmacAllMarketCalculator, BmacSingleSymbolCalculator
from bmacdb.kit.reader import CandleReader
from bmacdb.kit.research import compute
from bmacdb.kit.stream import FactorStream
from bmacdb.kit.times import convert_interval_to_timedelta, next_run_time, now_time, sleep_until_run_time

__all__ = [
    "BmacAllMarketCalculator",
    "BmacSingleSymbolCalculator",
    "CandleReader",
    "FactorStream",
    "compute",
    "convert_interval_to_timedelta",
    "next_run_time",
    "now_time",
    "sleep_until_run_time",
]
