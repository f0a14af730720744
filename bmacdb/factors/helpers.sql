-- The helpers of the factor language: macros in the database, for anybody's query over a table with symbol and open_time.
-- They stand in any window query; where one goes into another, lay a CTE between them, as DuckDB has no windows in windows.
-- (`+ 0`: without a calculation with a parameter DuckDB looks for the columns already when a macro is made.)

-- delay: x of n bars ago
CREATE OR REPLACE MACRO delay(x, n) AS
    lag(x, n + 0) OVER (PARTITION BY symbol ORDER BY open_time);

-- delta: change of x over n bars
CREATE OR REPLACE MACRO delta(x, n) AS
    x - lag(x, n + 0) OVER (PARTITION BY symbol ORDER BY open_time);

-- ts_rank: rank of x among its values of the last n bars, 1 to n; equals share the mean of their ranks
CREATE OR REPLACE MACRO ts_rank(x, n) AS
    CASE WHEN x IS NOT NULL THEN
        (rank(ORDER BY x) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW)
        - rank(ORDER BY x DESC NULLS LAST) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW)
        + count(x) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW)
        + 1) / 2
    END;

-- ts_argmax: where in the last n bars x is largest, 1 (the oldest bar) to n; of equals the oldest
CREATE OR REPLACE MACRO ts_argmax(x, n) AS
    CASE WHEN count(x) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW) > 0 THEN
        n - count(*) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW)
        + list_position(
            array_agg(x) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW),
            max(x) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW)
        )
    END;

-- ts_argmin: where in the last n bars x is smallest, 1 (the oldest bar) to n; of equals the oldest
CREATE OR REPLACE MACRO ts_argmin(x, n) AS
    CASE WHEN count(x) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW) > 0 THEN
        n - count(*) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW)
        + list_position(
            array_agg(x) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW),
            min(x) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW)
        )
    END;

-- decay_linear: mean of the last n x with weights 1 (the oldest) to n; null where any of them is
CREATE OR REPLACE MACRO decay_linear(x, n) AS
    CASE WHEN count(x) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW) = n THEN
        list_dot_product(
            array_agg(coalesce(x::DOUBLE, 0)) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW),
            list_transform(range(1, n + 1), lambda i: i::DOUBLE)
        ) / (n * (n + 1) / 2)
    END;

-- mean_deviation: mean distance of the last n x from their mean; null where any of them is
CREATE OR REPLACE MACRO mean_deviation(x, n) AS
    CASE WHEN count(x) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW) = n THEN
        list_avg(list_transform(
            list_zip(
                array_agg(x) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW),
                list_resize([avg(x) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW)], n, avg(x) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW))
            ),
            lambda pair: abs(pair[1] - pair[2])
        ))
    END;

-- drawdown: largest fall of x from a high before it within the last n bars, as a part of that high; x must be above 0
CREATE OR REPLACE MACRO drawdown(x, n) AS
    struct_extract(
        list_reduce(
            list_transform(
                array_agg(x) FILTER (x IS NOT NULL) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW),
                lambda v: {'top': v::DOUBLE, 'fall': 0::DOUBLE}
            ),
            lambda a, v: {'top': greatest(a.top, v.top), 'fall': greatest(a.fall, 1 - v.top / greatest(a.top, v.top))}
        ),
        'fall'
    );

-- ewm: a = x of the oldest of the last n bars, then a + alpha * (x - a) to the newest; null where any x of them is
CREATE OR REPLACE MACRO ewm(x, alpha, n) AS
    list_reduce(
        array_agg(x::DOUBLE) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW),
        lambda a, v: a + alpha * (v - a)
    );

-- wilder: a = mean of the first n x of the last bars, then (a * (n - 1) + x) / n to the newest; null where any x of them is
CREATE OR REPLACE MACRO wilder(x, n, bars) AS
    list_reduce(
        array_agg(x::DOUBLE) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN bars - n - 1 PRECEDING AND CURRENT ROW),
        lambda a, v: (a * (n - 1) + v) / n,
        CASE WHEN count(x) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN bars - 1 PRECEDING AND bars - n PRECEDING) = n THEN
            avg(x::DOUBLE) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN bars - 1 PRECEDING AND bars - n PRECEDING)
        END
    );

-- signedpower: x to the power of a, with the sign of x
CREATE OR REPLACE MACRO signedpower(x, a) AS sign(x) * abs(x) ** a;

-- cs_rank: rank of x across the market, above 0 to 1; equals have that of the first
CREATE OR REPLACE MACRO cs_rank(x) AS
    CASE WHEN close IS NOT NULL AND x IS NOT NULL THEN
        rank() OVER (PARTITION BY open_time, close IS NULL ORDER BY x)
        / count(x) OVER (PARTITION BY open_time, close IS NULL)
    END;

-- cs_scale: x as a share of the sum of all sizes across the market
CREATE OR REPLACE MACRO cs_scale(x) AS
    CASE WHEN close IS NOT NULL THEN x / sum(abs(x)) OVER (PARTITION BY open_time, close IS NULL) END;

-- cs_zscore: x less its mean across the market, in sample standard deviations
CREATE OR REPLACE MACRO cs_zscore(x) AS
    CASE WHEN close IS NOT NULL THEN
        (x - avg(x) OVER (PARTITION BY open_time, close IS NULL))
        / nullif(stddev(x + 0) OVER (PARTITION BY open_time, close IS NULL), 0)
    END;

-- correlation: corr of x and y over n bars, null for fewer than two pairs and where x or y is constant
-- (DuckDB's corr of a constant is NaN or, by rounding, anything). Rounded to 8 digits, so that equals rank as equals.
CREATE OR REPLACE MACRO correlation(x, y, n) AS
    CASE WHEN min(CASE WHEN y IS NOT NULL THEN x END) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW)
        < max(CASE WHEN y IS NOT NULL THEN x END) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW)
        AND min(CASE WHEN x IS NOT NULL THEN y END) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW)
        < max(CASE WHEN x IS NOT NULL THEN y END) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW)
    THEN
        round(corr(x, y) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW), 8)
    END;

-- covariance: sample covariance of x and y over n bars, rounded to 8 digits, so that equals rank as equals
CREATE OR REPLACE MACRO covariance(x, y, n) AS
    round(covar_samp(x, y) OVER (PARTITION BY symbol ORDER BY open_time ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW), 8);
