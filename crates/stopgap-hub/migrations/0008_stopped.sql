-- Whether a server has a service or a pool stopped, as its last report left it: a cap counts them.
ALTER TABLE servers ADD COLUMN stopped BIGINT NOT NULL DEFAULT 0;
UPDATE servers SET stopped = 1 WHERE id IN (SELECT server FROM server_mitigations WHERE in_force = 1
    AND (document LIKE '%"type":"Service"%' OR document LIKE '%"type":"AppPool"%'));
CREATE INDEX servers_stopped ON servers (stopped) WHERE stopped = 1;
