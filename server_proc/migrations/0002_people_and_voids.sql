-- Who the people are that the marks name. A mark needs no entry here: readers know numbers, offices know names.
CREATE TABLE people (
    id         TEXT    PRIMARY KEY,
    name       TEXT    NOT NULL,
    group_name TEXT,
    updated_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- That a mark does not count, and why. A mark is never deleted or changed; a void is a row of its own, one per mark.
CREATE TABLE voids (
    void_seq  INTEGER PRIMARY KEY AUTOINCREMENT,
    id        TEXT    NOT NULL UNIQUE,
    mark_seq  INTEGER NOT NULL UNIQUE REFERENCES marks (mark_seq),
    reason    TEXT    NOT NULL,
    voided_ms INTEGER NOT NULL
) STRICT;

-- With the person in it, the figures of a day are read from the index alone.
DROP INDEX marks_by_timestamp;
CREATE INDEX marks_by_timestamp ON marks (timestamp_ms, person_id);
