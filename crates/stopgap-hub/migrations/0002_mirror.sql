-- Feeds that are mirrored: the document that is served now, and how it was met last.
CREATE TABLE mirrored (
    feed TEXT NOT NULL PRIMARY KEY,
    serial BIGINT NOT NULL,
    hash TEXT NOT NULL,
    last_seen TEXT NOT NULL
);

-- What stands beside them (base64 in `octets`): co-signatures by their number, and revocation lists by the
-- SHA-256 of the address that a certificate names.
CREATE TABLE mirrored_beside (
    feed TEXT NOT NULL,
    name TEXT NOT NULL,
    octets TEXT NOT NULL,
    PRIMARY KEY (feed, name)
);

-- Whose turn it is to change something, where servers change one after another. `failed`: why the next one waits.
-- `after_sequence`: reports up to this one were made before the turn began, and do not end it.
CREATE TABLE turns (
    scope TEXT NOT NULL,
    server TEXT NOT NULL,
    mitigations TEXT NOT NULL,
    granted_at TEXT NOT NULL,
    after_sequence BIGINT NOT NULL DEFAULT 0,
    failed TEXT,
    PRIMARY KEY (scope, server)
);
INSERT INTO counters (name, value) VALUES ('turns', 0);
