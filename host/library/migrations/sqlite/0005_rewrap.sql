-- Moving recordings to the current KEK, without touching their bodies.

-- How many recordings need a KEK, and which.
CREATE INDEX recording_kek ON recording (tenant, provider, kek);

-- The end of an object's header slot as it would be under the recording's generation: with the key
-- record beside the object, the slot can be told without the key. Missing for generation 0, and
-- where the key block does not fit the slot.
CREATE TABLE slot_mac (
    recording  INTEGER NOT NULL REFERENCES recording (position) ON DELETE CASCADE,
    part       TEXT NOT NULL,
    generation INTEGER NOT NULL,
    mac        BLOB NOT NULL CHECK (length(mac) = 64),
    PRIMARY KEY (recording, part)
) STRICT, WITHOUT ROWID;

-- The last re-wrap of each tenant. Whoever runs it holds it until `lease_ms`.
CREATE TABLE rewrap_job (
    tenant     INTEGER PRIMARY KEY REFERENCES tenant (key),
    state      TEXT NOT NULL,
    subject    TEXT NOT NULL,
    total      INTEGER NOT NULL,
    done       INTEGER NOT NULL,
    failed     INTEGER NOT NULL,
    failures   TEXT NOT NULL, -- JSON: [[recording, reason], …], some of them
    per_second INTEGER NOT NULL,
    started_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    ended_ms   INTEGER,
    last_error TEXT,
    owner      TEXT,
    lease_ms   INTEGER NOT NULL
) STRICT;
