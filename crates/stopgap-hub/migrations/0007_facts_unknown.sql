-- Products that are on a server whose version it could not read, and why: a server that fronts its group is told.
ALTER TABLE servers ADD COLUMN facts_unknown TEXT NOT NULL DEFAULT '{}';
