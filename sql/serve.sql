-- What the recorder's server needs. `guard` is a database in memory: nothing of it gets into the file. A query waits for
-- these macros, and binding them is what takes time (1 to 2 ms): few expressions, simple patterns.

-- guard_known: what a query may name: one row of lists, in lower case.
CREATE TABLE IF NOT EXISTS guard.rules.known (
    tables VARCHAR[], places VARCHAR[], functions VARCHAR[], table_functions VARCHAR[]
);

-- guard_tree: a query as DuckDB's own parser understands it, in lower case; null when it is too long.
CREATE OR REPLACE MACRO guard.rules.bmacdb_tree(query) AS
    lower(CASE WHEN strlen(query) <= $longest THEN json_serialize_sql(query::VARCHAR) END::VARCHAR);

-- guard_passes: whether a query is one statement and names nothing but what is known. A name that it defines itself may
-- stand for a table, if no file and no view of DuckDB's own can have it. Patterns are safe on the tree: within a text the
-- quotes are escaped, so that no text can look like a key.
CREATE OR REPLACE MACRO guard.rules.bmacdb_passes(tree, known) AS
    json_array_length(tree, '$.statements') = 1
    AND list_has_all(list_concat(known.tables, json_extract_string(tree, '$..cte_map.map[*].key')),
                     json_extract_string(tree, '$..table_name'))
    AND NOT regexp_matches(tree, '"key":"(?:[^"]*[./:*?\\]|duckdb_|pragma_|sqlite_|pg_)')
    AND list_has_all(known.places, regexp_extract_all(tree, '"(?:schema|catalog)(?:_name)?":"([^"]*)"', 1))
    AND list_has_all(known.functions, json_extract_string(tree, '$..function_name'))
    AND list_has_all(known.table_functions, json_extract_string(tree, '$..function.function_name'));

-- guard_refusal: why a query is refused, as text for an error.
CREATE OR REPLACE MACRO guard.rules.bmacdb_refusal(query) AS (
    SELECT 'the recorder refuses this query: ' || CASE
        WHEN json_array_length(tree, '$.statements') <> 1 THEN 'one statement at a time.'
        ELSE coalesce(
            'function ' || list_concat(
                list_filter(json_extract_string(tree, '$..function.function_name'),
                            lambda name: NOT list_contains(known.table_functions, name)),
                list_filter(json_extract_string(tree, '$..function_name'),
                            lambda name: NOT list_contains(known.functions, name))
                )[1] || ' is not for readers: it is unknown, reads files or settings, or acts.',
            'there is no table ' || list_filter(json_extract_string(tree, '$..table_name'),
                                                lambda name: NOT list_contains(known.tables, name))[1]
                || ' (SHOW ALL TABLES tells what there is).',
            'it names a schema that is no feed.') END
    FROM (SELECT guard.rules.bmacdb_tree(query) AS tree), guard.rules.known AS known
);

-- guard_query: the statement that runs in place of what was sent: itself, one that tells why it is refused, or null for
-- what is no query at all (an append asks with the text of an INSERT, and anything but null would let it pass).
CREATE OR REPLACE MACRO guard.rules.bmacdb_guard(session, query) AS (
    SELECT CASE
        WHEN tree IS NULL OR NOT starts_with(tree, '{"error":false,') THEN NULL
        WHEN guard.rules.bmacdb_passes(tree, known) THEN query::VARCHAR
        ELSE 'SELECT error(guard.rules.bmacdb_refusal(''' || replace(query::VARCHAR, '''', '''''') || '''))'
        END
    FROM (SELECT guard.rules.bmacdb_tree(query::VARCHAR) AS tree), guard.rules.known AS known
);
