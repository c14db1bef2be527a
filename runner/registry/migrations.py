"""The registry's tables, as ordered migrations: number N takes a file of schema N - 1 to schema N.

A row is the key of a thing, what the database itself must hold true of it (foreign keys), and the thing as
JSON. Never change a migration that has been released; add one.
"""

from __future__ import annotations

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE functions (name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE packages (hash TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE versions (
        function TEXT NOT NULL REFERENCES functions ON DELETE CASCADE,
        version TEXT NOT NULL,
        package TEXT NOT NULL REFERENCES packages,
        serving TEXT REFERENCES packages,
        body TEXT NOT NULL,
        PRIMARY KEY (function, version)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX versions_package ON versions (package);
    CREATE INDEX versions_serving ON versions (serving);
    CREATE TABLE fallbacks (
        function TEXT PRIMARY KEY REFERENCES functions ON DELETE CASCADE,
        body TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE aliases (
        function TEXT NOT NULL,
        name TEXT NOT NULL,
        version TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (function, name),
        FOREIGN KEY (function, version) REFERENCES versions ON DELETE RESTRICT
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX aliases_version ON aliases (function, version);
    CREATE TABLE async_configs (
        function TEXT NOT NULL REFERENCES functions ON DELETE CASCADE,
        qualifier TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (function, qualifier)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE provision_configs (
        function TEXT NOT NULL REFERENCES functions ON DELETE CASCADE,
        qualifier TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (function, qualifier)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE urls (
        function TEXT NOT NULL REFERENCES functions ON DELETE CASCADE,
        qualifier TEXT NOT NULL,
        id TEXT NOT NULL UNIQUE,
        body TEXT NOT NULL,
        PRIMARY KEY (function, qualifier)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE triggers (
        function TEXT NOT NULL REFERENCES functions ON DELETE CASCADE,
        name TEXT NOT NULL,
        id TEXT NOT NULL UNIQUE,
        body TEXT NOT NULL,
        PRIMARY KEY (function, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE domains (name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE layer_versions (
        layer TEXT NOT NULL,
        version INTEGER NOT NULL,
        package TEXT NOT NULL REFERENCES packages,
        body TEXT NOT NULL,
        PRIMARY KEY (layer, version)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX layer_versions_package ON layer_versions (package);
    CREATE TABLE gone_layers (
        layer TEXT NOT NULL,
        version INTEGER NOT NULL,
        package TEXT NOT NULL REFERENCES packages,
        body TEXT NOT NULL,
        PRIMARY KEY (layer, version)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE statements (
        resource TEXT NOT NULL,
        qualifier TEXT NOT NULL,
        sid TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (resource, qualifier, sid)
    ) STRICT, WITHOUT ROWID;
    -- The last number that was given out, so that none is given out twice.
    CREATE TABLE counters (name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
    -- Which environment a package runs in, so that a restart need not resolve its requirements again.
    CREATE TABLE locks (
        package TEXT NOT NULL REFERENCES packages ON DELETE CASCADE,
        python TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (package, python)
    ) STRICT, WITHOUT ROWID;
    """,
)
