-- Crypto-shredding: what was asked to be destroyed, how far it is, and the certificate. Outlives
-- tenants and recordings, so it refers to neither.
CREATE TABLE destruction (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT, -- newest has the greatest
    id           TEXT NOT NULL UNIQUE,
    tenant       TEXT NOT NULL,
    scope        TEXT NOT NULL, -- JSON
    reason       TEXT NOT NULL,
    lost         INTEGER NOT NULL, -- how many recordings were confirmed to be
    state        TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    requested_ms INTEGER NOT NULL,
    decided_by   TEXT, -- who confirmed or cancelled it
    decided_ms   INTEGER,
    seal         BLOB NOT NULL, -- who asked for what, and who confirmed it, signed
    plan         TEXT, -- JSON; from when it runs
    epoch        INTEGER, -- the keystore's that began with it
    last_error   TEXT,
    ended_ms     INTEGER,
    certificate  TEXT, -- DSSE envelope, JSON
    owner        TEXT,
    lease_ms     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX destruction_tenant ON destruction (tenant);
-- One at a time for a tenant, whatever the code does.
CREATE UNIQUE INDEX destruction_open ON destruction (tenant)
    WHERE state IN ('requested', 'running', 'halted');

-- Set when a tenant's keys were destroyed. Its id is never used again.
ALTER TABLE tenant ADD COLUMN destroyed_ms INTEGER;

-- What every node is to forget: it reads those that are newer than the last one it has read.
CREATE TABLE purge (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    at_ms  INTEGER NOT NULL
) STRICT;

-- Whatever the code does: a destroyed tenant gets nothing new.
CREATE TRIGGER kek_of_destroyed BEFORE INSERT ON kek
    WHEN (SELECT destroyed_ms FROM tenant WHERE key = NEW.tenant) IS NOT NULL
    BEGIN SELECT raise(ABORT, 'this tenant''s keys were destroyed'); END;
CREATE TRIGGER sealed_key_of_destroyed BEFORE INSERT ON sealed_key
    WHEN (SELECT destroyed_ms FROM tenant WHERE key = NEW.tenant) IS NOT NULL
    BEGIN SELECT raise(ABORT, 'this tenant''s keys were destroyed'); END;
CREATE TRIGGER configuration_of_destroyed BEFORE INSERT ON key_configuration
    WHEN (SELECT destroyed_ms FROM tenant WHERE key = NEW.tenant) IS NOT NULL
    BEGIN SELECT raise(ABORT, 'this tenant''s keys were destroyed'); END;
CREATE TRIGGER recording_of_destroyed BEFORE INSERT ON recording
    WHEN (SELECT destroyed_ms FROM tenant WHERE key = NEW.tenant) IS NOT NULL
    BEGIN SELECT raise(ABORT, 'this tenant''s keys were destroyed'); END;
