-- A way in for one time, without a password: made on the hub's own machine.
CREATE TABLE sign_in_links (
    hash TEXT NOT NULL PRIMARY KEY,
    user_key TEXT NOT NULL,
    expires_at TEXT NOT NULL
);
