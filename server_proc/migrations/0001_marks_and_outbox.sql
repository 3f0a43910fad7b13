-- Marks are never deleted or changed: AUTOINCREMENT makes the row number a cursor that is never reused.
CREATE TABLE marks (
    mark_seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL UNIQUE,
    person_id    TEXT    NOT NULL,
    timestamp_ms INTEGER NOT NULL,
    received_ms  INTEGER NOT NULL,
    source       TEXT
) STRICT;
CREATE INDEX marks_by_person ON marks (person_id, mark_seq);
CREATE INDEX marks_by_timestamp ON marks (timestamp_ms);

-- What was announced, in order. AUTOINCREMENT: a seq is not given out twice even if old rows are dropped.
CREATE TABLE outbox (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    ts      REAL NOT NULL,
    payload TEXT NOT NULL
) STRICT;

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
-- A new epoch tells every client that the seqs it remembers mean nothing here.
INSERT INTO meta (key, value) VALUES ('epoch', lower(hex(randomblob(16))));
