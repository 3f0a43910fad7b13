-- Who the people are that the marks name. A mark needs no entry here: readers know numbers, offices know names.
CREATE TABLE people (
    id         TEXT    PRIMARY KEY,
    name       TEXT    NOT NULL,
    group_name TEXT,
    updated_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
