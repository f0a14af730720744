-- What the recorder's server needs. `guard` is a database in memory: nothing of it gets into the file.

-- guard_names: the values of one key anywhere in a serialized statement. Text within the statement cannot match: its
-- quotes are escaped there.
CREATE OR REPLACE MACRO guard.main.bmacdb_names(tree, key) AS
    regexp_extract_all(tree, '"' || key || '":"((?:[^"\\]|\\.)*)"', 1);

-- guard_refusal: why a serialized statement is refused, null when it may run. Tables and table functions must be known
-- ones, or names that the statement itself defines; functions must not be on the list of those that leak or write.
CREATE OR REPLACE MACRO guard.main.bmacdb_refusal(tree) AS (
    SELECT CASE
        WHEN json_array_length(tree, '$.statements') <> 1 THEN 'send one statement at a time'
        WHEN len(foreign_functions) > 0 THEN 'table function ' || foreign_functions[1] || ' is not allowed'
        WHEN len(bad_functions) > 0 THEN 'function ' || bad_functions[1] || ' is not allowed'
        WHEN len(foreign_places) > 0 THEN 'there is no feed ' || foreign_places[1]
        WHEN len(foreign_tables) > 0 THEN 'there is no table ' || foreign_tables[1]
        END
    FROM (
        SELECT
            list_filter(guard.main.bmacdb_names(tree, 'table_name'), lambda name: lower(name) NOT IN $tables AND NOT (
                list_contains(guard.main.bmacdb_names(tree, 'key'), name)
                AND regexp_full_match(name, '[\pL_][\pL\pN_]*') AND NOT regexp_matches(name, $system, 'i')
            )) AS foreign_tables,
            list_filter(list_concat(guard.main.bmacdb_names(tree, 'schema_name'), guard.main.bmacdb_names(tree, 'schema')),
                        lambda name: lower(name) NOT IN $schemas)
            || list_filter(list_concat(guard.main.bmacdb_names(tree, 'catalog_name'), guard.main.bmacdb_names(tree, 'catalog')),
                           lambda name: lower(name) NOT IN $catalogs) AS foreign_places,
            list_filter(regexp_extract_all(tree, '"function":\{[^{}]*?"function_name":"((?:[^"\\]|\\.)*)"', 1),
                        lambda name: lower(name) NOT IN $table_functions) AS foreign_functions,
            list_filter(guard.main.bmacdb_names(tree, 'function_name'), lambda name:
                        regexp_full_match(name, $denied, 'i')) AS bad_functions
    )
);

-- guard_query: the statement that runs in place of what was sent: itself, one that tells why it is refused, or null for
-- what is no query at all (an append asks with the text of an INSERT, and anything but null would let it pass).
CREATE OR REPLACE MACRO guard.main.bmacdb_guard(session, query) AS (
    SELECT CASE
        WHEN tree IS NULL OR NOT starts_with(tree, '{"error":false,') THEN NULL
        WHEN refusal IS NULL THEN query::VARCHAR
        ELSE 'SELECT error(''the recorder refuses this query: ' || replace(refusal, '''', '''''') || '.'')'
        END
    FROM (
        SELECT tree, guard.main.bmacdb_refusal(tree) AS refusal
        FROM (SELECT CASE WHEN strlen(query::VARCHAR) <= $longest THEN json_serialize_sql(
            CASE WHEN regexp_matches(query::VARCHAR, '^\s*explain\s', 'i')
                 THEN regexp_replace(query::VARCHAR, '^\s*explain\s+(analyze\s+)?', '', 'i')
                 ELSE query::VARCHAR END)::VARCHAR END AS tree)
    )
);
