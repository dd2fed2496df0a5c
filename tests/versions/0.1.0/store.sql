PRAGMA auto_vacuum = 2;
PRAGMA user_version = 2;
PRAGMA application_id = 1718580594;
BEGIN TRANSACTION;
CREATE TABLE entries (
        seq        INTEGER PRIMARY KEY AUTOINCREMENT,
        id         BLOB    NOT NULL UNIQUE,
        name       TEXT    NOT NULL,
        level      TEXT    NOT NULL,
        transport  TEXT    NOT NULL,
        created_at INTEGER NOT NULL,
        stored_at  INTEGER NOT NULL,
        attempts   INTEGER NOT NULL,
        data       TEXT    NOT NULL,
        checksum   INTEGER
    ) STRICT;
INSERT INTO "entries" VALUES(1,X'0197F5C15D3A7C6E8A542F1B6C0D9E00','version','warning','http',1795341600000001,1796021799222079,1,'sent via http by 0.1.0: ж, "quoted"',3525888003);
INSERT INTO "entries" VALUES(2,X'0197F5C15D3A7C6E8A542F1B6C0D9E01','version','warning','rpc',1795341600000001,1796021799232401,1,'sent via rpc by 0.1.0: ж, "quoted"',3998484615);
INSERT INTO "entries" VALUES(3,X'0197F5C15D3A7C6E8A542F1B6C0D9E02','version','warning','grpc',1795341600000001,1796021799241356,2,'sent via grpc by 0.1.0: ж, "quoted"',1265887155);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('entries',3);
COMMIT;
