-- For a DuckDB shell beside a live recorder: views and macros with the recorder's names, which ask the recorder when they
-- are used. The helpers are in the schema `shell` of the shell's own database in memory.
--
-- DuckDB does not hand the conditions of a query to a remote scan. But a view can see the statement in which it is used
-- (`current_query()`): it asks for its table under those conditions of that statement which concern this table alone.
-- The statement then applies them again. In every case of doubt a condition is left out: the rows are the same, and more
-- of them travel.

-- literal: a value as SQL text; null for null.
CREATE MACRO shell.literal(value) AS
    CASE WHEN typeof(value) IN ('INTEGER', 'BIGINT', 'DOUBLE') OR typeof(value) LIKE 'DECIMAL%' THEN value::VARCHAR
         ELSE '''' || replace(value::VARCHAR, '''', '''''') || '''::' || typeof(value) END;

-- tree: the query within a statement as DuckDB's parser understands it; an error where there is none.
CREATE MACRO shell.tree(statement) AS json_serialize_sql(regexp_replace(
    regexp_replace(statement, '^\s*COPY\s*\((.*)\)\s*TO\s.*$', '\1', 'is'),
    '^\s*(?:EXPLAIN(?:\s+ANALYZE)?|CREATE\s+(?:OR\s+REPLACE\s+)?(?:TEMP\w*\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?[\w.]+\s+AS'
    || '|INSERT\s+INTO\s+[\w.]+)\s', '', 'i'));

-- key: the full name of a table, in lower case.
CREATE MACRO shell.key(place, name) AS
    lower(CASE WHEN coalesce(place, '') = '' THEN current_schema() ELSE place END || '.' || name);

-- tables: the tables that a query names, each as schema.name in lower case.
CREATE MACRO shell.tables(tree) AS list_transform(
    regexp_extract_all(lower(tree::VARCHAR), '"schema_name":"(?:[^"\\]|\\.)*","table_name":"(?:[^"\\]|\\.)*"'),
    lambda pair: shell.key(regexp_extract(pair, '"schema_name":"([^"]*)"', 1), regexp_extract(pair, '"table_name":"([^"]*)"', 1)));

-- clear: whether nothing in a query can stand for a view of this shell but the view's own name: no view or macro of the
-- user's, no other database, no sample.
CREATE MACRO shell.clear(tree) AS
    json_extract_string(tree, '$.error') = 'false' AND json_array_length(tree, '$.statements') = 1
    AND list_has_all(
        list_concat(getvariable('shell_tables'),
                    list_transform(json_extract_string(tree, '$..cte_map.map[*].key'), lambda name: shell.key('', name))),
        shell.tables(tree))
    AND list_has_all(getvariable('shell_functions'),
                     list_transform(json_extract_string(tree, '$..function_name'), lambda name: lower(name)))
    AND NOT regexp_matches(tree::VARCHAR, '"(?:catalog_name|catalog)":"[^"]|"(?:sample|at_clause)":\{|"column_name_alias":\["'
                                          || '|"with_ordinality":"WITH_');

-- times: the number of times that a query uses a view or a macro.
CREATE MACRO shell.times(tree, place, name) AS
    len(list_filter(shell.tables(tree), lambda key: key = shell.key(place, name)))
    + len(list_filter(json_extract(tree, '$..function'), lambda call:
        shell.key(call->>'$.schema', call->>'$.function_name') = shell.key(place, name)));

-- selects: the SELECTs of a query, and other parts of it.
CREATE MACRO shell.selects(tree) AS
    flatten([json_extract(tree, '$..node'), json_extract(tree, '$..left'), json_extract(tree, '$..right')]);

-- conditions: those of a SELECT's WHERE that must all hold.
CREATE MACRO shell.conditions(node) AS
    CASE WHEN node->>'$.where_clause.type' = 'CONJUNCTION_AND' THEN json_extract(node, '$.where_clause.children[*]')
         WHEN node->>'$.where_clause' IS NULL THEN []
         ELSE [json_extract(node, '$.where_clause')] END;

-- alone: whether a condition is about these columns alone, and means the same at the recorder. Times as text mean
-- something else there when the shell has another time zone.
CREATE MACRO shell.alone(condition, alias, columns) AS
    list_has_all(['COMPARISON', 'CONJUNCTION', 'CONSTANT', 'COLUMN_REF', 'FUNCTION', 'OPERATOR', 'BETWEEN', 'CAST'],
                 json_extract_string(condition, '$..class'))
    AND list_has_all(['+', '-', '*', '/', '%', '~~', '!~~', '~~*', 'now', 'today', 'get_current_timestamp', 'trunc', 'abs',
                      'lower', 'upper', 'starts_with', 'prefix', 'suffix', 'contains', 'regexp_matches', 'date_trunc',
                      'epoch_ms', 'to_timestamp', 'make_timestamptz', 'time_bucket', 'to_seconds', 'to_minutes', 'to_hours',
                      'to_days', 'to_weeks', 'to_months', 'to_years', 'list_value', 'list_contains'],
                     json_extract_string(condition, '$..function_name'))
    AND list_has_all(
        list_concat(list_transform(columns, lambda name: '["' || name || '"]'),
                    list_transform(columns, lambda name: '["' || lower(alias) || '","' || name || '"]')),
        list_transform(json_extract(condition, '$..column_names'), lambda names: lower(names::VARCHAR)))
    AND (current_setting('TimeZone') = 'UTC'
         OR list_has_all(['symbol', 'feed', 'item'], json_extract_string(condition, '$..column_names[-1]')));

-- narrowed: the query `source` with the conditions of a SELECT on it.
CREATE MACRO shell.narrowed(source, alias, columns, node) AS json_deserialize_sql(replace(
    json_serialize_sql('FROM ' || source || ' AS "' || replace(alias, '"', '""') || '"')::VARCHAR,
    '"where_clause":null',
    '"where_clause":' || coalesce('{"class":"CONJUNCTION","type":"CONJUNCTION_AND","alias":"","query_location":0,"children":['
        || nullif(array_to_string(list_filter(shell.conditions(node), lambda one: shell.alone(one, alias, columns)), ','), '')
        || ']}', 'null'))::JSON);

-- part: what the view or macro `name` of schema `place` asks the recorder for: `source` is how the recorder calls it.
CREATE MACRO shell.part(place, name, source, columns, statement) AS list_transform(
    [shell.tree(statement)],
    lambda tree: CASE
        WHEN regexp_matches(statement, '^\s*CREATE\s+(?:OR\s+REPLACE\s+)?(?:TEMP\w*\s+)?VIEW\s', 'i') THEN 'FROM ' || source || ' LIMIT 0'
        WHEN shell.clear(tree) AND shell.times(tree, place, name) = 1 THEN coalesce(list_transform(
            list_filter(shell.selects(tree), lambda node:
                shell.key(coalesce(node->>'$.from_table.schema_name', node->>'$.from_table.function.schema'),
                          coalesce(node->>'$.from_table.table_name', node->>'$.from_table.function.function_name'))
                = shell.key(place, name)),
            lambda node: shell.narrowed(source, coalesce(nullif(node->>'$.from_table.alias', ''), name), columns, node))[1],
            'FROM ' || source)
        ELSE 'FROM ' || source END)[1];
