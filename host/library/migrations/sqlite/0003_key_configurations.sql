-- Key configurations: where a provider finds a tenant's key service. Their secrets lie in
-- sealed_key, under "secret/<configuration>/<name>"; a KEK names its own in its attributes.
CREATE TABLE key_configuration (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT, -- newest has the greatest
    id         TEXT NOT NULL UNIQUE,
    tenant     INTEGER NOT NULL REFERENCES tenant (key),
    provider   TEXT NOT NULL,
    config     TEXT NOT NULL, -- JSON, without secrets
    created_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX key_configuration_tenant ON key_configuration (tenant);
