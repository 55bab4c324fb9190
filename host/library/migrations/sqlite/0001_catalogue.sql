-- The catalogue, first version. Times are ms since 1970. A migration that was released is never
-- edited: sqlx keeps its checksum.

CREATE TABLE tenant (
    key        INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused: search terms carry it
    id         TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    policy     TEXT NOT NULL,
    provider   TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE provider_config (
    tenant   INTEGER NOT NULL REFERENCES tenant (key),
    provider TEXT NOT NULL,
    config   TEXT NOT NULL,
    PRIMARY KEY (tenant, provider)
) STRICT, WITHOUT ROWID;

CREATE TABLE kek (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT, -- newest has the greatest
    tenant     INTEGER NOT NULL REFERENCES tenant (key),
    provider   TEXT NOT NULL,
    id         TEXT NOT NULL,
    algorithm  TEXT NOT NULL,
    public_key BLOB NOT NULL,
    sealed     TEXT NOT NULL, -- JSON: [[name, hex], …], the provider's own
    attributes TEXT NOT NULL, -- JSON: [[name, value], …]
    state      TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    UNIQUE (tenant, provider, id)
) STRICT;
-- At most one KEK of a tenant is current, whatever the code does.
CREATE UNIQUE INDEX kek_current ON kek (tenant) WHERE state = 'current';

CREATE TABLE sealed_key (
    tenant    INTEGER NOT NULL REFERENCES tenant (key),
    provider  TEXT NOT NULL,
    name      TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    sealed    BLOB NOT NULL,
    PRIMARY KEY (tenant, provider, name)
) STRICT, WITHOUT ROWID;

-- position = start_ms * 2^20 + a counter among those of one millisecond: one unique number that
-- sorts by time. As the rowid it ends every index for free, so each index below lists its matches
-- newest first, and so does the full-text index.
CREATE TABLE recording (
    position        INTEGER PRIMARY KEY,
    tenant          INTEGER NOT NULL REFERENCES tenant (key),
    id              TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    media           INTEGER NOT NULL,
    start_ms        INTEGER NOT NULL,
    duration_ms     INTEGER NOT NULL,
    provider        TEXT NOT NULL,
    kek             TEXT NOT NULL,
    wrap_algorithm  TEXT NOT NULL,
    generation      INTEGER NOT NULL,
    details         TEXT NOT NULL, -- JSON
    UNIQUE (tenant, id)
) STRICT;
CREATE INDEX recording_tenant ON recording (tenant);
CREATE INDEX recording_media ON recording (tenant, media);
CREATE INDEX recording_provider ON recording (tenant, provider, media);
CREATE INDEX recording_conversation ON recording (tenant, conversation_id);

CREATE TABLE part (
    recording     INTEGER NOT NULL REFERENCES recording (position) ON DELETE CASCADE,
    ordinal       INTEGER NOT NULL,
    name          TEXT NOT NULL,
    content_type  TEXT NOT NULL,
    object        TEXT NOT NULL,
    etag          TEXT NOT NULL,
    sealed_len    INTEGER NOT NULL,
    plaintext_len INTEGER NOT NULL,
    PRIMARY KEY (recording, ordinal)
) STRICT, WITHOUT ROWID;

-- Holds terms (see sqlite/search.rs), never the texts themselves.
CREATE VIRTUAL TABLE recording_text USING fts5 (
    terms, content = '', contentless_delete = 1, tokenize = 'ascii'
);

CREATE TABLE account (
    id            TEXT NOT NULL PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE COLLATE NOCASE,
    password_hash TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE account_role (
    account TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    tenant  INTEGER NOT NULL REFERENCES tenant (key),
    role    TEXT NOT NULL,
    PRIMARY KEY (account, ordinal),
    UNIQUE (account, tenant)
) STRICT, WITHOUT ROWID;

CREATE TABLE credential (
    id            TEXT NOT NULL PRIMARY KEY,
    kind          TEXT NOT NULL,
    secret_sha256 BLOB NOT NULL UNIQUE,
    account       TEXT REFERENCES account (id) ON DELETE CASCADE,
    label         TEXT NOT NULL,
    created_ms    INTEGER NOT NULL,
    expires_ms    INTEGER,
    revoked       INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE credential_role (
    credential TEXT NOT NULL REFERENCES credential (id) ON DELETE CASCADE,
    ordinal    INTEGER NOT NULL,
    tenant     INTEGER NOT NULL REFERENCES tenant (key),
    role       TEXT NOT NULL,
    PRIMARY KEY (credential, ordinal),
    UNIQUE (credential, tenant)
) STRICT, WITHOUT ROWID;

-- Outlives tenants and recordings, so it refers to neither.
CREATE TABLE audit (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    id        TEXT NOT NULL UNIQUE,
    at_ms     INTEGER NOT NULL,
    action    TEXT NOT NULL,
    tenant    TEXT,
    subject   TEXT NOT NULL,
    recording TEXT,
    outcome   TEXT NOT NULL,
    fields    TEXT NOT NULL -- JSON
) STRICT;
CREATE INDEX audit_tenant ON audit (tenant, at_ms);
CREATE INDEX audit_action ON audit (tenant, action, at_ms);
CREATE INDEX audit_recording ON audit (tenant, recording, at_ms);

-- Written by readiness probes: shows that the disk takes writes.
CREATE TABLE heartbeat (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    beat INTEGER NOT NULL
) STRICT;
INSERT INTO heartbeat VALUES (1, 0);
