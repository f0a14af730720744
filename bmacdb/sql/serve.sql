-- What the recorder's server needs. `guard` is a database in memory: nothing of it gets into the file. A query waits for
-- these macros, and planning them is what takes time (about 1 ms): few expressions, few patterns, no join.

-- guard_known: what a query may name, in lower case: one row of two lists.
CREATE TABLE IF NOT EXISTS guard.rules.known (tables VARCHAR[], functions VARCHAR[]);

-- guard_tree: a query as DuckDB's own parser understands it, in lower case; null when it is too long.
CREATE OR REPLACE MACRO guard.rules.bmacdb_tree(query) AS
    lower(CASE WHEN strlen(query) <= $longest THEN json_serialize_sql(query::VARCHAR) END::VARCHAR);

-- guard_names: the tables, schemas and catalogs that a query names. Patterns are safe on the tree: within a text the
-- quotes are escaped, so that no text can look like a key.
CREATE OR REPLACE MACRO guard.rules.bmacdb_names(tree) AS
    regexp_extract_all(tree, '"(?:table_name|(?:schema|catalog)(?:_name)?)":"((?:[^"\\]|\\.)*)"', 1);

-- guard_passes: whether a query is one statement and names nothing but what is known. A name that it defines itself may
-- stand for a table, if no file, no view of DuckDB's own and nothing of the guard's can have it.
CREATE OR REPLACE MACRO guard.rules.bmacdb_passes(tree, tables, functions) AS
    json_array_length(tree, '$.statements') = 1
    AND list_has_all(functions, json_extract_string(tree, '$..function_name'))
    AND list_has_all(list_concat(tables, json_extract_string(tree, '$..cte_map.map[*].key')),
                     guard.rules.bmacdb_names(tree))
    AND NOT regexp_matches(tree, '"key":"(?:[^"]*[./:*?\\]|duckdb_|pragma_|sqlite_|pg_|guard)');

-- guard_refusal: why a query is refused, as text for an error.
CREATE OR REPLACE MACRO guard.rules.bmacdb_refusal(query) AS (
    SELECT 'the recorder refuses this query: ' || CASE
        WHEN json_array_length(tree, '$.statements') <> 1 THEN 'one statement at a time.'
        ELSE coalesce(
            'function ' || list_filter(json_extract_string(tree, '$..function_name'),
                                       lambda name: NOT list_contains(functions, name))[1]
                || ' is not for readers: it is unknown, reads files or settings, or acts.',
            'there is no table or schema ' || list_filter(guard.rules.bmacdb_names(tree), lambda name: NOT list_contains(tables, name))[1]
                || ' (SHOW ALL TABLES tells what there is).',
            'a name that it defines could be that of a file or of a system table.') END
    FROM (SELECT guard.rules.bmacdb_tree(query) AS tree, tables, functions FROM guard.rules.known)
);

-- guard_catalog: what ATTACH is told of the database: every table as a view. Of a table Quack's client forgets the schema
-- (it sends SELECT #1, #2 FROM candles, for whichever feed), of a view it does not (FROM usdt_spot_1m.candles).
CREATE OR REPLACE MACRO guard.rules.bmacdb_catalog() AS
    'SELECT schema_name, table_name, ''view'' FROM duckdb_tables() WHERE database_name = current_database() UNION ALL '
    || 'SELECT schema_name, view_name, ''view'' FROM duckdb_views() WHERE database_name = current_database()';

-- guard_query: the statement that runs in place of what was sent: itself, the catalog above where ATTACH asks for it, one
-- that tells why it is refused, or null for what is no query at all (an append asks with the text of an INSERT, and
-- anything but null would let it pass). `query` stands here once: it is a parameter of a prepared statement, which would
-- be planned a second time if it stood twice.
CREATE OR REPLACE MACRO guard.rules.bmacdb_guard(session, query) AS (
    SELECT CASE
        WHEN tree IS NULL OR NOT starts_with(tree, '{"error":false,') THEN NULL
        WHEN starts_with(ltrim(sent, chr(10)), 'SELECT schema_name, sql, ''table''') THEN guard.rules.bmacdb_catalog()
        WHEN guard.rules.bmacdb_passes(tree, tables, functions) THEN sent
        ELSE 'SELECT error(guard.rules.bmacdb_refusal(''' || replace(sent, '''', '''''') || '''))'
        END
    FROM (
        SELECT sent, guard.rules.bmacdb_tree(sent) AS tree, tables, functions
        FROM (SELECT query::VARCHAR AS sent, tables, functions FROM guard.rules.known)
    )
);
