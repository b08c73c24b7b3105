-- One text for SQLite and PostgreSQL: TEXT and BIGINT alone. JSON is TEXT, a time is RFC 3339 TEXT in UTC,
-- a truth value is BIGINT 0 or 1. Times compare as text, since all are written with the same precision.

CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- Numbers that only grow: `settings` wakes agents, `audit` numbers the log.
CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('settings', 0);

-- The log of changes is one chain; `head` is the hash of its last row.
CREATE TABLE audit_head (
    one BIGINT NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL,
    hash TEXT NOT NULL
);
INSERT INTO audit_head (one, seq, hash) VALUES (1, 0, '');

CREATE TABLE audit (
    seq BIGINT NOT NULL PRIMARY KEY,
    at TEXT NOT NULL,
    user_name TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    before_text TEXT,
    after_text TEXT,
    reason TEXT,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE INDEX audit_object ON audit (object, seq);

-- People. `name_key` is the name in lower case: names differ in more than that.
CREATE TABLE users (
    name_key TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    password TEXT NOT NULL,
    disabled BIGINT NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    signed_in_at TEXT
);

CREATE TABLE api_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    label TEXT NOT NULL,
    role TEXT NOT NULL,
    user_name TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT,
    used_at TEXT
);

CREATE TABLE sessions (
    hash TEXT NOT NULL PRIMARY KEY,
    user_key TEXT NOT NULL,
    csrf TEXT NOT NULL,
    created_at TEXT NOT NULL,
    seen_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_key);

CREATE TABLE idempotency (
    principal TEXT NOT NULL,
    key TEXT NOT NULL,
    request TEXT NOT NULL,
    status BIGINT NOT NULL,
    answer TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (principal, key)
);

-- What people want: one document of settings for each level. The organization's has no name.
CREATE TABLE layers (
    level TEXT NOT NULL,
    name TEXT NOT NULL,
    document TEXT NOT NULL,
    version BIGINT NOT NULL,
    changed_at TEXT NOT NULL,
    changed_by TEXT NOT NULL,
    PRIMARY KEY (level, name)
);

-- A group is every server with this label; of two groups the one with the lower position is nearer.
CREATE TABLE server_groups (
    name TEXT NOT NULL PRIMARY KEY,
    label_key TEXT NOT NULL,
    label_value TEXT NOT NULL,
    position BIGINT NOT NULL
);

CREATE TABLE approvals (
    id TEXT NOT NULL PRIMARY KEY,
    feed TEXT NOT NULL,
    mitigation TEXT NOT NULL,
    digest TEXT NOT NULL,
    level TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    requested_key TEXT NOT NULL,
    requested_at TEXT NOT NULL,
    reason TEXT,
    decided_by TEXT,
    decided_at TEXT
);
CREATE INDEX approvals_mitigation ON approvals (feed, mitigation);

-- Servers, and what they say of themselves. `name_key` as for users.
CREATE TABLE enrollments (
    id TEXT NOT NULL PRIMARY KEY,
    token_hash TEXT NOT NULL UNIQUE,
    uses_left BIGINT NOT NULL,
    expires_at TEXT NOT NULL,
    labels TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at TEXT NOT NULL
);

CREATE TABLE servers (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL UNIQUE,
    machine TEXT NOT NULL,
    credential_hash TEXT NOT NULL UNIQUE,
    next_credential_hash TEXT UNIQUE,
    labels TEXT NOT NULL,
    enrolled_at TEXT NOT NULL,
    last_contact TEXT,
    agent_version TEXT NOT NULL,
    system TEXT NOT NULL DEFAULT '',
    sequence BIGINT NOT NULL DEFAULT 0,
    reported_at TEXT,
    settings_version TEXT NOT NULL DEFAULT '',
    mitigations_enabled BIGINT NOT NULL DEFAULT 1,
    mitigations_blocked TEXT NOT NULL DEFAULT '[]',
    paused_until TEXT,
    clock_offset_ms BIGINT NOT NULL DEFAULT 0,
    clone_seen_at TEXT,
    facts TEXT NOT NULL DEFAULT '{}',
    warnings TEXT NOT NULL DEFAULT '[]',
    event_seq BIGINT NOT NULL DEFAULT 0
);

-- The labels again, as rows that can be searched; servers.labels has them for who reads a server.
CREATE TABLE server_labels (
    server TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (server, key)
);
CREATE INDEX server_labels_value ON server_labels (key, value, server);

CREATE TABLE server_mitigations (
    server TEXT NOT NULL,
    feed TEXT NOT NULL,
    id TEXT NOT NULL,
    digest TEXT NOT NULL,
    verdict TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT,
    in_force BIGINT NOT NULL,
    applied_at TEXT,
    proven_at TEXT,
    document TEXT NOT NULL,
    PRIMARY KEY (server, feed, id)
);
CREATE INDEX server_mitigations_id ON server_mitigations (feed, id);

CREATE TABLE server_feeds (
    server TEXT NOT NULL,
    name TEXT NOT NULL,
    serial BIGINT,
    trusted_at TEXT,
    expires_at TEXT,
    error TEXT,
    PRIMARY KEY (server, name)
);

-- When a mitigation was in force: from_at inclusive, until_at exclusive; NULL: still.
CREATE TABLE spans (
    server TEXT NOT NULL,
    feed TEXT NOT NULL,
    id TEXT NOT NULL,
    from_at TEXT NOT NULL,
    until_at TEXT,
    PRIMARY KEY (server, feed, id, from_at)
);
CREATE INDEX spans_mitigation ON spans (feed, id, from_at);

-- `seq` counts for each server by itself (servers.event_seq), so that two servers never wait for each other.
CREATE TABLE events (
    server TEXT NOT NULL,
    seq BIGINT NOT NULL,
    at TEXT NOT NULL,
    received_at TEXT NOT NULL,
    event BIGINT NOT NULL,
    mitigation TEXT,
    text TEXT NOT NULL,
    PRIMARY KEY (server, seq)
);
CREATE INDEX events_received ON events (received_at);

-- Feeds that are mirrored, by the hash of their octets (base64 in `octets`).
CREATE TABLE feed_documents (
    feed TEXT NOT NULL,
    serial BIGINT NOT NULL,
    hash TEXT NOT NULL,
    octets TEXT NOT NULL,
    fetched_at TEXT NOT NULL,
    PRIMARY KEY (feed, hash)
);

CREATE TABLE outbox (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    object TEXT NOT NULL,
    payload TEXT NOT NULL,
    next_try TEXT NOT NULL,
    tries BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX outbox_once ON outbox (kind, object);
