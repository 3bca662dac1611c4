"""The tables, as numbered migrations: append-only, literal, a released one never changes.

Ratings hang on contents, not on records: the same text read twice, under whatever extra fields, is rated once.
Times are in UTC. Wide numbers come as small integers (`content`, `rule`, `rater`) in tables without keys, the layout that appends 10
million ratings in under a second; the one writing process keeps them unique by asking first what is missing.
"""

from __future__ import annotations

STAGES = ("sample", "corpus", "imported", "retest")
"""When a rating was made, by its number in the table."""

MIGRATIONS: tuple[str, ...] = (
    """
CREATE TABLE schema_version (version INTEGER, applied TIMESTAMP, rulesel VARCHAR);
CREATE TABLE settings (name VARCHAR, value VARCHAR);

-- what was read: a corpus is one state of one file under one mapping
CREATE TABLE corpora (
    corpus INTEGER, path VARCHAR, format VARCHAR, shape VARCHAR, mapping VARCHAR, header BLOB, sha256 VARCHAR,
    row_limit BIGINT, n_records BIGINT, n_examples BIGINT, skipped VARCHAR, first_content BIGINT, finished BOOLEAN,
    read_at TIMESTAMP
);
CREATE TABLE contents (content BIGINT, hash VARCHAR, hash_key UBIGINT, prompt VARCHAR, response VARCHAR);
CREATE TABLE examples (corpus INTEGER, row BIGINT, content BIGINT, occurrence INTEGER, record VARCHAR);

-- who rated what
CREATE TABLE rules (
    rule INTEGER, id VARCHAR, name VARCHAR, text VARCHAR, polarity VARCHAR, anchor_low VARCHAR, anchor_high VARCHAR,
    sql VARCHAR
);
CREATE TABLE rule_sets (id VARCHAR, origin VARCHAR, domain VARCHAR, position INTEGER, rule INTEGER, name VARCHAR);
CREATE TABLE raters (rater INTEGER, id VARCHAR, judge VARCHAR, parameters VARCHAR, provenance VARCHAR);
CREATE TABLE ratings (
    content BIGINT, rule INTEGER, rater INTEGER, stage UTINYINT, value FLOAT, status UTINYINT, flags UTINYINT, mass FLOAT
);
CREATE TABLE rating_reasons (content BIGINT, rule INTEGER, rater INTEGER, reason VARCHAR);

-- one number an example: grades, likelihoods, imported scores
CREATE TABLE columns (
    "column" INTEGER, id VARCHAR, name VARCHAR, direction VARCHAR, provenance VARCHAR, made_at TIMESTAMP
);
CREATE TABLE column_values ("column" INTEGER, content BIGINT, value DOUBLE, reason VARCHAR);
CREATE TABLE features (
    id VARCHAR, name VARCHAR, path VARCHAR, n BIGINT, dimension INTEGER, provenance VARCHAR,
    made_at TIMESTAMP
);

-- what was chosen
CREATE TABLE choices (
    choice VARCHAR, rule_set VARCHAR, rater VARCHAR, detail VARCHAR, made_at TIMESTAMP
);
CREATE TABLE runs (
    run VARCHAR, attempt INTEGER, started TIMESTAMP, ended TIMESTAMP, outcome VARCHAR,
    config VARCHAR, packages VARCHAR
);
CREATE TABLE selections (
    selection VARCHAR, run VARCHAR, corpus INTEGER, method VARCHAR, n BIGINT, receipt VARCHAR,
    made_at TIMESTAMP
);
CREATE TABLE selection_rows (selection VARCHAR, rank BIGINT, corpus INTEGER, row BIGINT, key DOUBLE);

-- what it cost
CREATE TABLE calls (
    call VARCHAR, run VARCHAR, stage VARCHAR, key VARCHAR, model VARCHAR, called TIMESTAMP, seconds DOUBLE,
    attempts INTEGER, status VARCHAR, prompt_tokens BIGINT, cached_tokens BIGINT, completion_tokens BIGINT, cost DOUBLE,
    reason VARCHAR
);

-- for people who write SQL; the corpus read last is the current one
CREATE VIEW current_corpus AS
    SELECT corpus FROM corpora WHERE finished ORDER BY read_at DESC, corpus DESC LIMIT 1;
CREATE VIEW current_examples AS
    SELECT e.corpus, e.row, c.hash || '-' || e.occurrence AS example_id, e.content, e.occurrence, c.prompt, c.response,
        e.record
    FROM examples e JOIN contents c USING (content) WHERE e.corpus = (FROM current_corpus);
CREATE VIEW ratings_long AS
    SELECT e.example_id, e.row, u.id AS rule_id, u.name AS rule_name, a.judge AS rater, a.id AS rater_id,
        ['sample', 'corpus', 'imported', 'retest'][r.stage + 1] AS stage, r.value AS score, ['ok', 'parse', 'range', 'refused', 'low_mass', 'cut_answer', 'timeout', 'http', 'not_applicable'][r.status + 1] AS status, w.reason, r.flags, r.mass
    FROM ratings r JOIN rules u USING (rule) JOIN raters a USING (rater)
    JOIN current_examples e ON e.content = r.content AND e.occurrence = 0
    LEFT JOIN rating_reasons w ON w.content = r.content AND w.rule = r.rule AND w.rater = r.rater;
CREATE VIEW selection_view AS
    SELECT s.selection, s.rank, c.hash || '-' || e.occurrence AS example_id, s.row, s.key, e.record
    FROM selection_rows s JOIN examples e USING (corpus, row) JOIN contents c USING (content) ORDER BY s.selection, s.rank;
CREATE VIEW column_view AS
    SELECT e.example_id, e.row, k.name AS "column", k.direction, v.value, v.reason
    FROM column_values v JOIN columns k USING ("column") JOIN current_examples e ON e.content = v.content;
""",
    """
-- a name means the column that was asked for last
ALTER TABLE columns ADD COLUMN used_at TIMESTAMP;
UPDATE columns SET used_at = made_at;
""",
    """
-- records that could not be read, as far as they are listed one by one; corpora.skipped counts all of them
CREATE TABLE unreadable (corpus INTEGER, row BIGINT, line BIGINT, reason VARCHAR);
""",
)
