-- What people find a recording by (names, addresses, subjects) is sealed under a key of its tenant,
-- and the text index holds keyed terms. Only the program has the keys, and no version has both this
-- and the keystore that a catalogue with tenants is from: such a catalogue stays as it is.
CREATE TABLE version_6 (tenants INTEGER NOT NULL) STRICT;
CREATE TRIGGER version_6_refused BEFORE INSERT ON version_6 WHEN NEW.tenants > 0
    BEGIN SELECT raise(ABORT, 'it was made by a version that did not seal what is known of recordings, which this one cannot read: keep it, and go on with that version'); END;
INSERT INTO version_6 SELECT count(*) FROM tenant;
DROP TABLE version_6;

ALTER TABLE recording DROP COLUMN details;
-- AES-256-GCM: nonce, ciphertext, tag.
ALTER TABLE recording ADD COLUMN details BLOB NOT NULL;
