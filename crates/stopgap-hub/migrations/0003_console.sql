-- What the console asks again and again: answered from these indexes, without a look at the documents.
CREATE INDEX server_mitigations_counts ON server_mitigations (feed, id, status, in_force, server);
CREATE INDEX server_mitigations_proven ON server_mitigations (feed, id, proven_at);
CREATE INDEX server_mitigations_status ON server_mitigations (server, status);

-- Since when servers are known to need a mitigation: the first report of any of them that says so.
CREATE TABLE needs (
    feed TEXT NOT NULL,
    id TEXT NOT NULL,
    since_at TEXT NOT NULL,
    PRIMARY KEY (feed, id)
);
