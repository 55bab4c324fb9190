-- Recovery keys: a second KEK of a tenant, whose private half lies offline at its owner's. A former
-- one stays, so that it can be told which recordings it opens.
CREATE TABLE recovery_key (
    tenant     INTEGER NOT NULL REFERENCES tenant (key),
    id         TEXT NOT NULL, -- the fingerprint of the public key
    algorithm  TEXT NOT NULL,
    public_key BLOB NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('current', 'former')),
    created_ms INTEGER NOT NULL, -- when it was set last
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX recovery_key_current ON recovery_key (tenant) WHERE state = 'current';

-- The recovery key that the recording's generation is wrapped to besides its KEK. NULL: none.
ALTER TABLE recording ADD COLUMN recovery TEXT;

-- How many recordings need a KEK, and which; with or without which recovery key.
DROP INDEX recording_kek;
CREATE INDEX recording_kek ON recording (tenant, provider, kek, recovery);

-- Generations that a recording had before, and the KEK that each was wrapped to: their key records
-- are kept until that is retired, because a catalogue restored from a backup points to one of them.
CREATE TABLE former_generation (
    recording  INTEGER NOT NULL REFERENCES recording (position) ON DELETE CASCADE,
    generation INTEGER NOT NULL,
    tenant     INTEGER NOT NULL REFERENCES tenant (key),
    provider   TEXT NOT NULL,
    kek        TEXT NOT NULL,
    PRIMARY KEY (recording, generation)
) STRICT, WITHOUT ROWID;
CREATE INDEX former_generation_kek ON former_generation (tenant, provider, kek);
