-- Marks that were not recorded, since another of the same person stood within the cool-down, but had an id: sent again
-- they are answered as before. Forgotten after a while.
CREATE TABLE duplicates (
    id           TEXT    PRIMARY KEY,
    standing_seq INTEGER NOT NULL REFERENCES marks (mark_seq),
    person_id    TEXT    NOT NULL,
    timestamp_ms INTEGER NOT NULL,
    received_ms  INTEGER NOT NULL,
    source       TEXT
) STRICT;
CREATE INDEX duplicates_by_age ON duplicates (received_ms);

-- What was answered to requests that had an Idempotency-Key. Forgotten after a while.
CREATE TABLE idempotency (
    key         TEXT    PRIMARY KEY,
    fingerprint BLOB    NOT NULL,
    answer      BLOB    NOT NULL,
    answered_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX idempotency_by_age ON idempotency (answered_ms);

-- For the cool-down: the marks of a person around a moment.
CREATE INDEX marks_by_person_and_timestamp ON marks (person_id, timestamp_ms);
