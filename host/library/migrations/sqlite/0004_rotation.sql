-- Rotation schedules. A tenant without a row rotates by hand alone. Due dates count from since_ms,
-- so that the 31st stays the 31st; try_ms is later than due_ms after a failure. Whoever runs a
-- rotation puts its own id into claim; when claim_until_ms is over, somebody else may.
CREATE TABLE rotation (
    tenant         INTEGER PRIMARY KEY REFERENCES tenant (key),
    period         TEXT NOT NULL,
    since_ms       INTEGER NOT NULL,
    due_ms         INTEGER NOT NULL,
    try_ms         INTEGER NOT NULL,
    failures       INTEGER NOT NULL,
    last_error     TEXT,
    claim          TEXT,
    claim_until_ms INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX rotation_try ON rotation (try_ms);
