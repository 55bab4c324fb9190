-- What people find a recording by (names, addresses, subjects) is sealed under a key of its tenant,
-- and the text index holds keyed terms. Only the program has the keys: what was in the clear waits
-- here until the catalogue is opened with them (see sqlite/unsealed.rs).
CREATE TABLE clear_details (
    recording INTEGER PRIMARY KEY REFERENCES recording (position) ON DELETE CASCADE,
    details   TEXT NOT NULL -- JSON
) STRICT;
INSERT INTO clear_details SELECT position, details FROM recording;
ALTER TABLE recording DROP COLUMN details;
-- AES-256-GCM: nonce, ciphertext, tag. Empty: not sealed yet.
ALTER TABLE recording ADD COLUMN details BLOB NOT NULL DEFAULT x'';

-- Its terms were the texts themselves.
DROP TABLE recording_text;
CREATE VIRTUAL TABLE recording_text USING fts5 (
    terms, content = '', contentless_delete = 1, tokenize = 'ascii'
);

-- Has a row while the file's free space may still hold what was in the clear.
CREATE TABLE clear_remains (
    only INTEGER PRIMARY KEY CHECK (only = 1)
) STRICT;
INSERT INTO clear_remains SELECT 1 WHERE EXISTS (SELECT 1 FROM recording);
