-- A journal as version 1 wrote it, dumped by sqlite3's iterdump: one run, three orders, one execution.
BEGIN TRANSACTION;
CREATE TABLE activities (
            id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, broker TEXT NOT NULL,
            activity_id TEXT NOT NULL, kind TEXT NOT NULL, symbol TEXT NOT NULL, session TEXT NOT NULL,
            quantity_delta TEXT NOT NULL, cash_delta TEXT NOT NULL, at TEXT NOT NULL,
            UNIQUE (broker, account, activity_id)
        ) STRICT;
INSERT INTO "activities" VALUES(1,'paper','paper','a1','deposit','','2013-01-02','0','100000','2013-01-02T22:00:00+00:00');
CREATE TABLE batches (
            batch_id TEXT PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs, account TEXT NOT NULL,
            pipeline TEXT NOT NULL, session TEXT NOT NULL, amendment INTEGER NOT NULL, strategy TEXT NOT NULL,
            equity TEXT NOT NULL, cash TEXT NOT NULL, data_snapshot INTEGER NOT NULL, created_at TEXT NOT NULL,
            UNIQUE (account, pipeline, session, amendment, strategy)
        ) STRICT;
INSERT INTO "batches" VALUES('r1:momentum','r1','paper','daily','2013-01-02',0,'momentum','100000','100000',3,'2013-01-02T22:00:00.000000+00:00');
CREATE TABLE decisions (
            id INTEGER PRIMARY KEY AUTOINCREMENT, client_order_id TEXT NOT NULL REFERENCES intents,
            at TEXT NOT NULL, approved INTEGER NOT NULL, gate TEXT NOT NULL, reason TEXT NOT NULL
        ) STRICT;
INSERT INTO "decisions" VALUES(1,'c1','2013-01-02T22:00:00.000000+00:00',1,'','');
INSERT INTO "decisions" VALUES(2,'c2','2013-01-02T22:00:00.000000+00:00',1,'','');
INSERT INTO "decisions" VALUES(3,'c3','2013-01-02T22:00:00.000000+00:00',0,'max_order_value','too large');
CREATE TABLE fills (
            id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, broker TEXT NOT NULL,
            fill_id TEXT NOT NULL, client_order_id TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL,
            quantity TEXT NOT NULL, price TEXT NOT NULL, fee TEXT NOT NULL, session TEXT NOT NULL,
            at TEXT NOT NULL, UNIQUE (broker, account, fill_id)
        ) STRICT;
INSERT INTO "fills" VALUES(1,'paper','paper','f1','c1','IBM','buy','249','197.1','1.245','2013-01-03','2013-01-03T14:30:00+00:00');
CREATE TABLE intents (
            client_order_id TEXT PRIMARY KEY CHECK (length(client_order_id) <= 48),
            batch_id TEXT NOT NULL REFERENCES batches, account TEXT NOT NULL, symbol TEXT NOT NULL,
            side TEXT NOT NULL CHECK (side IN ('buy', 'sell')), quantity TEXT NOT NULL,
            type TEXT NOT NULL, limit_price TEXT, time_in_force TEXT NOT NULL, reference_price TEXT NOT NULL,
            strategy TEXT NOT NULL, sequence INTEGER NOT NULL, state TEXT NOT NULL, broker_order_id TEXT
        ) STRICT;
INSERT INTO "intents" VALUES('c1','r1:momentum','paper','IBM','buy','249','market',NULL,'day','196.35','momentum',0,'filled',NULL);
INSERT INTO "intents" VALUES('c2','r1:momentum','paper','AAPL','buy','10','limit','550','day','549.03','momentum',1,'unknown',NULL);
INSERT INTO "intents" VALUES('c3','r1:momentum','paper','GE','buy','9000','market',NULL,'day','21.1','momentum',2,'denied',NULL);
CREATE TABLE leases (
            name TEXT PRIMARY KEY, token INTEGER NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL,
            started REAL NOT NULL, expires_at TEXT NOT NULL
        ) STRICT;
INSERT INTO "leases" VALUES('gateway:paper',1,'host',1,1.0,'2013-01-02T22:00:30.000000+00:00');
CREATE TABLE marks (
            id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, session TEXT NOT NULL,
            cash TEXT NOT NULL, equity TEXT NOT NULL, positions TEXT NOT NULL, at TEXT NOT NULL,
            UNIQUE (account, session)
        ) STRICT;
INSERT INTO "marks" VALUES(1,'paper','2013-01-02','100000','100000','{}','2013-01-02T22:00:00.000000+00:00');
INSERT INTO "marks" VALUES(2,'paper','2013-01-03','50920.855','99543.085','{"IBM": ["249", "195.27"]}','2013-01-03T14:30:00.000000+00:00');
CREATE TABLE order_events (
            id INTEGER PRIMARY KEY AUTOINCREMENT, client_order_id TEXT NOT NULL REFERENCES intents,
            at TEXT NOT NULL, from_state TEXT NOT NULL, to_state TEXT NOT NULL, detail TEXT NOT NULL
        ) STRICT;
INSERT INTO "order_events" VALUES(1,'c1','2013-01-02T22:00:00.000000+00:00','','intended','');
INSERT INTO "order_events" VALUES(2,'c2','2013-01-02T22:00:00.000000+00:00','','intended','');
INSERT INTO "order_events" VALUES(3,'c3','2013-01-02T22:00:00.000000+00:00','','intended','');
INSERT INTO "order_events" VALUES(4,'c1','2013-01-02T22:00:00.000000+00:00','intended','submitting','');
INSERT INTO "order_events" VALUES(5,'c1','2013-01-02T22:00:00.000000+00:00','submitting','accepted','');
INSERT INTO "order_events" VALUES(6,'c2','2013-01-02T22:00:00.000000+00:00','intended','submitting','');
INSERT INTO "order_events" VALUES(7,'c2','2013-01-02T22:00:00.000000+00:00','submitting','unknown','timed out');
INSERT INTO "order_events" VALUES(8,'c3','2013-01-02T22:00:00.000000+00:00','intended','denied','max_order_value');
INSERT INTO "order_events" VALUES(9,'c1','2013-01-03T14:30:00.000000+00:00','accepted','filled','');
CREATE TABLE run_events (
            id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL REFERENCES runs, at TEXT NOT NULL,
            state TEXT NOT NULL, attempt INTEGER NOT NULL, detail TEXT NOT NULL
        ) STRICT;
INSERT INTO "run_events" VALUES(1,'r1','2013-01-02T22:00:00.000000+00:00','preflight',1,'claimed');
INSERT INTO "run_events" VALUES(2,'r1','2013-01-03T14:30:00.000000+00:00','succeeded',1,'');
CREATE TABLE runs (
            run_id TEXT PRIMARY KEY, account TEXT NOT NULL, pipeline TEXT NOT NULL, session TEXT NOT NULL,
            amendment INTEGER NOT NULL, state TEXT NOT NULL, attempt INTEGER NOT NULL,
            owner_host TEXT NOT NULL, owner_pid INTEGER NOT NULL, owner_started REAL NOT NULL,
            heartbeat_at TEXT NOT NULL, created_at TEXT NOT NULL, ended_at TEXT,
            parameters TEXT NOT NULL, provenance TEXT NOT NULL, folder TEXT NOT NULL,
            exit_code INTEGER, reason TEXT NOT NULL DEFAULT '',
            UNIQUE (account, pipeline, session, amendment)
        ) STRICT;
INSERT INTO "runs" VALUES('r1','paper','daily','2013-01-02',0,'succeeded',1,'host',1,1.0,'2013-01-03T14:30:00.000000+00:00','2013-01-02T22:00:00.000000+00:00','2013-01-03T14:30:00.000000+00:00','{"top": 2}','{"data_snapshot": 1}','runs/r1',0,'');
CREATE TABLE steps (
            run_id TEXT NOT NULL REFERENCES runs, name TEXT NOT NULL, ordinal INTEGER NOT NULL,
            notebook TEXT NOT NULL, state TEXT NOT NULL, started_at TEXT, ended_at TEXT,
            detail TEXT NOT NULL DEFAULT '', PRIMARY KEY (run_id, name)
        ) STRICT;
INSERT INTO "steps" VALUES('r1','rebalance',0,'rebalance.ipynb','ok',NULL,'2013-01-03T14:30:00.000000+00:00','');
CREATE TABLE targets (
            batch_id TEXT NOT NULL REFERENCES batches, symbol TEXT NOT NULL, weight TEXT NOT NULL,
            price TEXT NOT NULL, held TEXT NOT NULL, quantity TEXT NOT NULL, PRIMARY KEY (batch_id, symbol)
        ) STRICT;
INSERT INTO "targets" VALUES('r1:momentum','IBM','0.5','196.35','0','249');
CREATE TABLE trading_states (
            id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, state TEXT NOT NULL,
            reason TEXT NOT NULL, actor TEXT NOT NULL, at TEXT NOT NULL
        ) STRICT;
INSERT INTO "trading_states" VALUES(1,'*','halted','drill','ada','2013-01-03T14:30:00.000000+00:00');
INSERT INTO "trading_states" VALUES(2,'*','active','over','ada','2013-01-03T14:30:00.000000+00:00');
INSERT INTO "trading_states" VALUES(3,'paper','reducing','winding down','ada','2013-01-03T14:30:00.000000+00:00');
CREATE INDEX intents_by_state ON intents (account, state);
CREATE INDEX intents_by_batch ON intents (batch_id, sequence);
CREATE INDEX decisions_by_order ON decisions (client_order_id);
CREATE INDEX order_events_by_order ON order_events (client_order_id);
CREATE INDEX fills_by_order ON fills (client_order_id);
CREATE TRIGGER batches_no_update BEFORE UPDATE ON batches BEGIN SELECT RAISE(ABORT, 'batches is append-only'); END;
CREATE TRIGGER batches_no_delete BEFORE DELETE ON batches BEGIN SELECT RAISE(ABORT, 'batches is append-only'); END;
CREATE TRIGGER targets_no_update BEFORE UPDATE ON targets BEGIN SELECT RAISE(ABORT, 'targets is append-only'); END;
CREATE TRIGGER targets_no_delete BEFORE DELETE ON targets BEGIN SELECT RAISE(ABORT, 'targets is append-only'); END;
CREATE TRIGGER decisions_no_update BEFORE UPDATE ON decisions BEGIN SELECT RAISE(ABORT, 'decisions is append-only'); END;
CREATE TRIGGER decisions_no_delete BEFORE DELETE ON decisions BEGIN SELECT RAISE(ABORT, 'decisions is append-only'); END;
CREATE TRIGGER order_events_no_update BEFORE UPDATE ON order_events BEGIN SELECT RAISE(ABORT, 'order_events is append-only'); END;
CREATE TRIGGER order_events_no_delete BEFORE DELETE ON order_events BEGIN SELECT RAISE(ABORT, 'order_events is append-only'); END;
CREATE TRIGGER run_events_no_update BEFORE UPDATE ON run_events BEGIN SELECT RAISE(ABORT, 'run_events is append-only'); END;
CREATE TRIGGER run_events_no_delete BEFORE DELETE ON run_events BEGIN SELECT RAISE(ABORT, 'run_events is append-only'); END;
CREATE TRIGGER fills_no_update BEFORE UPDATE ON fills BEGIN SELECT RAISE(ABORT, 'fills is append-only'); END;
CREATE TRIGGER fills_no_delete BEFORE DELETE ON fills BEGIN SELECT RAISE(ABORT, 'fills is append-only'); END;
CREATE TRIGGER activities_no_update BEFORE UPDATE ON activities BEGIN SELECT RAISE(ABORT, 'activities is append-only'); END;
CREATE TRIGGER activities_no_delete BEFORE DELETE ON activities BEGIN SELECT RAISE(ABORT, 'activities is append-only'); END;
CREATE TRIGGER marks_no_update BEFORE UPDATE ON marks BEGIN SELECT RAISE(ABORT, 'marks is append-only'); END;
CREATE TRIGGER marks_no_delete BEFORE DELETE ON marks BEGIN SELECT RAISE(ABORT, 'marks is append-only'); END;
CREATE TRIGGER trading_states_no_update BEFORE UPDATE ON trading_states BEGIN SELECT RAISE(ABORT, 'trading_states is append-only'); END;
CREATE TRIGGER trading_states_no_delete BEFORE DELETE ON trading_states BEGIN SELECT RAISE(ABORT, 'trading_states is append-only'); END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('run_events',2);
INSERT INTO "sqlite_sequence" VALUES('activities',1);
INSERT INTO "sqlite_sequence" VALUES('marks',2);
INSERT INTO "sqlite_sequence" VALUES('order_events',9);
INSERT INTO "sqlite_sequence" VALUES('decisions',3);
INSERT INTO "sqlite_sequence" VALUES('fills',1);
INSERT INTO "sqlite_sequence" VALUES('trading_states',3);
COMMIT;
PRAGMA user_version = 1;
