-- The first bytes of a sealed object's body: its salt, and what commits it to one key. Whoever
-- seals another object under the same names cannot make the same ones. NULL: taken in before this
-- was kept.
ALTER TABLE part ADD COLUMN body_prefix BLOB CHECK (length(body_prefix) = 56);

-- For operators, who read everybody's log in the order of time.
CREATE INDEX audit_time ON audit (at_ms);
