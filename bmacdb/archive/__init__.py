"""History from the exchange's archive (data.binance.vision), and what is done to the record with it."""
