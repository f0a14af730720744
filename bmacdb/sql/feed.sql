-- The tables of one feed, in a schema of its own, reached by search_path. Version 2.
-- No keys: uniqueness is the single writer's MERGE (half the file, and deleted rows are given back).

CREATE TABLE candles (
    symbol                       VARCHAR     NOT NULL,
    open_time                    TIMESTAMPTZ NOT NULL,
    open                         DOUBLE      NOT NULL,
    high                         DOUBLE      NOT NULL,
    low                          DOUBLE      NOT NULL,
    close                        DOUBLE      NOT NULL,
    volume                       DOUBLE      NOT NULL,
    quote_volume                 DOUBLE      NOT NULL,
    trade_num                    BIGINT      NOT NULL,
    taker_buy_base_asset_volume  DOUBLE      NOT NULL,
    taker_buy_quote_asset_volume DOUBLE      NOT NULL,
    source                       VARCHAR     NOT NULL,  -- ws, rest, archive, fill, provisional
    recorded_at                  TIMESTAMPTZ NOT NULL
);

CREATE TABLE run_status (
    run_time TIMESTAMPTZ NOT NULL,
    item     VARCHAR     NOT NULL,  -- a symbol, 'exginfo' or 'funding'
    ready_at TIMESTAMPTZ NOT NULL,
    source   VARCHAR     NOT NULL
);

CREATE TABLE runs (
    run_time    TIMESTAMPTZ NOT NULL,
    expected    INTEGER     NOT NULL,
    ready       INTEGER     NOT NULL,
    complete_at TIMESTAMPTZ,           -- null: the market is not complete (yet)
    last_item   VARCHAR,               -- the symbol that came last
    repaired    INTEGER     NOT NULL,  -- how many came by REST
    missing     VARCHAR[]   NOT NULL,  -- late at the deadline; stays when they come after all
    state       VARCHAR     NOT NULL   -- open, late, complete; halted: nothing of the feed traded, so nothing is expected
);

CREATE TABLE exginfo (
    symbol             VARCHAR     NOT NULL,
    valid_from         TIMESTAMPTZ NOT NULL,
    contract_type      VARCHAR,
    status             VARCHAR     NOT NULL,
    base_asset         VARCHAR     NOT NULL,
    quote_asset        VARCHAR     NOT NULL,
    margin_asset       VARCHAR,
    price_tick         DECIMAL(38, 18) NOT NULL,
    lot_size           DECIMAL(38, 18) NOT NULL,
    min_notional_value DECIMAL(38, 18),
    onboard_date       TIMESTAMPTZ,
    delivery_date      TIMESTAMPTZ
);

CREATE TABLE funding_rates (
    symbol       VARCHAR     NOT NULL,
    funding_time TIMESTAMPTZ NOT NULL,
    rate_type    VARCHAR     NOT NULL,
    funding_rate DOUBLE      NOT NULL,
    mark_price   DOUBLE
);

CREATE TABLE funding_snapshots (
    run_time          TIMESTAMPTZ NOT NULL,
    symbol            VARCHAR     NOT NULL,
    funding_rate      DOUBLE,
    next_funding_time TIMESTAMPTZ,
    mark_price        DOUBLE,
    index_price       DOUBLE
);

CREATE TABLE gaps (
    symbol    VARCHAR     NOT NULL,
    gap_start TIMESTAMPTZ NOT NULL,
    gap_end   TIMESTAMPTZ NOT NULL,  -- exclusive
    state     VARCHAR     NOT NULL,  -- open, filled, absent
    reason    VARCHAR     NOT NULL,
    found_at  TIMESTAMPTZ NOT NULL,
    closed_at TIMESTAMPTZ
);

CREATE TABLE corrections (
    symbol     VARCHAR     NOT NULL,
    open_time  TIMESTAMPTZ NOT NULL,
    noticed_at TIMESTAMPTZ NOT NULL,
    recorded   STRUCT(open DOUBLE, high DOUBLE, low DOUBLE, close DOUBLE, volume DOUBLE, quote_volume DOUBLE,
                      trade_num BIGINT, taker_buy_base_asset_volume DOUBLE, taker_buy_quote_asset_volume DOUBLE,
                      source VARCHAR) NOT NULL,
    later      STRUCT(open DOUBLE, high DOUBLE, low DOUBLE, close DOUBLE, volume DOUBLE, quote_volume DOUBLE,
                      trade_num BIGINT, taker_buy_base_asset_volume DOUBLE, taker_buy_quote_asset_volume DOUBLE,
                      source VARCHAR) NOT NULL,
    stands     VARCHAR     NOT NULL  -- recorded, later
);
