-- Macd: MACD histogram.
-- formula: DIF - DEA; DIF = ema(close, fast) - ema(close, slow), DEA = ema(DIF, signal), each x + 2 / (span + 1) * (value - x) from the look-back's first candle, over 10 * max(slow, signal) candles
-- source: Appel; pandas ewm(adjust=False). Without the factor 2 of Chinese charting software
-- params: fast int >= 1 = 12, slow int >= 2 = 26, signal int >= 1 = 9
-- null: any candle of the look-back is missing
array_agg(close) OVER (bars ROWS BETWEEN 10 * greatest($slow, $signal) - 1 PRECEDING AND CURRENT ROW) AS closes,
list_reduce(
    list_transform(closes, lambda x: {'fast': x, 'slow': x, 'dea': 0::DOUBLE}),
    lambda a, x: {
        'fast': a.fast + 2 / ($fast + 1) * (x.fast - a.fast),
        'slow': a.slow + 2 / ($slow + 1) * (x.slow - a.slow),
        'dea': a.dea + 2 / ($signal + 1) * (
            a.fast + 2 / ($fast + 1) * (x.fast - a.fast) - (a.slow + 2 / ($slow + 1) * (x.slow - a.slow)) - a.dea
        )
    }
) AS state,
state.fast - state.slow - state.dea
