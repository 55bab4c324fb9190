-- The audit log as a chain: each row's hash covers the row and the hash before it (see
-- audit_chain.rs). NULL: written before there was a chain, and chained when the catalogue is opened.
ALTER TABLE audit ADD COLUMN hash BLOB CHECK (length(hash) = 32);

-- The end of the chain, signed in the transaction that wrote it: a log that was cut short no longer
-- ends where its head says.
CREATE TABLE audit_head (
    only      INTEGER PRIMARY KEY CHECK (only = 1),
    seq       INTEGER NOT NULL,
    at_ms     INTEGER NOT NULL,
    hash      BLOB NOT NULL CHECK (length(hash) = 32),
    key       TEXT NOT NULL,
    signature BLOB NOT NULL
) STRICT;

-- Former heads, one in a thousand events and one a day, kept for good.
CREATE TABLE audit_checkpoint (
    seq       INTEGER PRIMARY KEY,
    at_ms     INTEGER NOT NULL,
    hash      BLOB NOT NULL CHECK (length(hash) = 32),
    key       TEXT NOT NULL,
    signature BLOB NOT NULL
) STRICT;

CREATE INDEX audit_subject ON audit (tenant, subject, at_ms);
