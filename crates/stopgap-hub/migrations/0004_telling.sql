-- Telling people. A note is written with what caused it; notes of the same thing on many servers are gathered into one
-- message, and a message is delivered to each receiver by itself. Servers never wait for each other's rows here.
DROP TABLE outbox;

CREATE TABLE notes (
    kind TEXT NOT NULL,
    object TEXT NOT NULL,
    server TEXT NOT NULL,
    at TEXT NOT NULL,
    words TEXT NOT NULL,
    PRIMARY KEY (kind, object, server)
);

CREATE TABLE messages (
    seq BIGINT NOT NULL PRIMARY KEY,
    made_at TEXT NOT NULL,
    kind TEXT NOT NULL,
    object TEXT NOT NULL,
    document TEXT NOT NULL
);
CREATE INDEX messages_of ON messages (kind, object, made_at);
INSERT INTO counters (name, value) VALUES ('messages', 0);

-- `state`: waits, sent, given-up. `next_try` is also the claim: who moves it on sends, and nobody else does until then.
CREATE TABLE deliveries (
    id TEXT NOT NULL PRIMARY KEY,
    message BIGINT NOT NULL,
    receiver TEXT NOT NULL,
    state TEXT NOT NULL,
    tries BIGINT NOT NULL DEFAULT 0,
    made_at TEXT NOT NULL,
    next_try TEXT NOT NULL,
    error TEXT,
    done_at TEXT
);
CREATE INDEX deliveries_of ON deliveries (message);
CREATE INDEX deliveries_due ON deliveries (receiver, state, next_try);

-- What is wrong with a server as a whole, as the hub judges it: quiet, cut-off, frozen, wrong-clock.
CREATE TABLE troubles (
    server TEXT NOT NULL,
    kind TEXT NOT NULL,
    since_at TEXT NOT NULL,
    words TEXT NOT NULL,
    PRIMARY KEY (server, kind)
);

-- The newest serial of a feed that is known, and since when: who still has an older one is given an old feed.
CREATE TABLE serials (
    feed TEXT NOT NULL PRIMARY KEY,
    serial BIGINT NOT NULL,
    since_at TEXT NOT NULL
);
