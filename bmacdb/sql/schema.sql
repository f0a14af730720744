-- What spans feeds. Version 2.

CREATE TABLE main.meta (
    key   VARCHAR NOT NULL,
    value VARCHAR NOT NULL
);

CREATE TABLE main.feeds (
    feed        VARCHAR     NOT NULL,  -- the schema's name: usdt_perp_5m
    market      VARCHAR     NOT NULL,  -- spot, usdt_futures, coin_futures
    trade_type  VARCHAR     NOT NULL,
    "interval"  VARCHAR     NOT NULL,  -- as the exchange spells it: 5m, 1M
    anchor      TIMESTAMPTZ NOT NULL,  -- an open time of the grid (matters for 3d)
    num_candles INTEGER     NOT NULL,  -- the depth guaranteed to readers
    created_at  TIMESTAMPTZ NOT NULL,
    updated_at  TIMESTAMPTZ NOT NULL
);
