-- Who may talk to the server from other machines. A key is 256 random bits, so its plain SHA-256 gives nothing away.
CREATE TABLE devices (
    id           INTEGER PRIMARY KEY,
    name         TEXT    NOT NULL UNIQUE,
    key_sha256   BLOB    NOT NULL UNIQUE,
    created_ms   INTEGER NOT NULL,
    last_seen_ms INTEGER,
    revoked_ms   INTEGER
) STRICT;
