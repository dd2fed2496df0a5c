-- The first version of the tables. The statements are those of logger/src/store/sqlite/schema.rs at commit 817fc4b
-- (2026-11-21); the rows are of the form that its write.rs stores. Read by logger/src/store/sqlite/tests/versions.rs.
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA synchronous = FULL;
BEGIN IMMEDIATE;
PRAGMA application_id = 1718580594;
PRAGMA user_version = 1;
CREATE TABLE IF NOT EXISTS entries (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         BLOB    NOT NULL UNIQUE,
    name       TEXT    NOT NULL,
    level      TEXT    NOT NULL,
    transport  TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    stored_at  INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    data       TEXT    NOT NULL
) STRICT;
INSERT INTO entries (seq, id, name, level, transport, created_at, stored_at, attempts, data)
  VALUES (1, x'0197f5c15d3a7c6e8a542f1b6c0d9e00', 'event', 'info', 'http', 1763719200000001, 1763719200100000, 1, 'first');
INSERT INTO entries (seq, id, name, level, transport, created_at, stored_at, attempts, data)
  VALUES (2, x'0197f5c15d3a7c6e8a542f1b6c0d9e01', 'событие', 'warning', 'rpc', 1763719201000001, 1763719201100000, 3, 'по-русски, ''in quotes''');
INSERT INTO entries (seq, id, name, level, transport, created_at, stored_at, attempts, data)
  VALUES (5, x'0197f5c15d3a7c6e8a542f1b6c0d9e02', 'event', 'error', 'rabbitmq', 1763719202000001, 1763719202100000, 1, 'a gap of two before it');
INSERT INTO entries (seq, id, name, level, transport, created_at, stored_at, attempts, data)
  VALUES (6, x'0197f5c15d3a7c6e8a542f1b6c0d9e03', 'large', 'info', 'grpc', 1763719203000001, 1763719203100000, 1, 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy');
COMMIT;
PRAGMA journal_mode = WAL;
