BEGIN TRANSACTION;
CREATE TABLE audit (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at DOUBLE NOT NULL, 
	actor VARCHAR(64) NOT NULL, 
	via VARCHAR(16) NOT NULL, 
	address VARCHAR(64) NOT NULL, 
	action VARCHAR(64) NOT NULL, 
	subject VARCHAR NOT NULL, 
	detail JSON NOT NULL, 
	outcome VARCHAR(16) NOT NULL
);
INSERT INTO "audit" VALUES(1,1.79529375750770330433e+09,'root','cli','','backend.add','local-disk','{"preset": "local", "option.root": "{folder}/instance/files", "option.read_only": "false", "option.encrypt": "false"}','done');
INSERT INTO "audit" VALUES(2,1.79529375752888131138e+09,'root','cli','','setup','ann','{}','done');
INSERT INTO "audit" VALUES(3,1.79529376087792205815e+09,'root','cli','','user.add','bob','{"role": "operator"}','done');
INSERT INTO "audit" VALUES(4,1.79529376387897253043e+09,'root','cli','','backend.add','other','{"preset": "local", "option.root": "{folder}/other", "option.read_only": "false", "option.encrypt": "false"}','done');
INSERT INTO "audit" VALUES(5,1.79529376667992377281e+09,'root','cli','','backend.add','cloud','{"preset": "minio", "option.endpoint": "http://127.0.0.1:9", "option.region": "us-east-1", "option.bucket": "photos", "option.access_key_id": "AKIDEXAMPLE", "option.path_style": "true", "option.tls_verify": "true", "option.sse": "none", "option.read_only": "false", "option.encrypt": "false", "secrets": "secret_access_key"}','done');
INSERT INTO "audit" VALUES(6,1.79529376984707403179e+09,'root','cli','','migration.create','1','{"command": "stowage migrate local-disk other --on-conflict fail", "approved": "yes"}','done');
INSERT INTO "audit" VALUES(7,1.79529377032463860509e+09,'runner','runner','','migration.start','1','{}','done');
INSERT INTO "audit" VALUES(8,1.79529377078230071066e+09,'runner','runner','','migration.finish','1','{"result": "with_errors"}','done');
CREATE TABLE backend_secrets (
	backend_id INTEGER NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	sealed VARCHAR NOT NULL, 
	hint VARCHAR(8) NOT NULL, 
	CONSTRAINT pk_backend_secrets PRIMARY KEY (backend_id, name), 
	CONSTRAINT fk_backend_secrets_backend_id_backends FOREIGN KEY(backend_id) REFERENCES backends (id) ON DELETE CASCADE
);
INSERT INTO "backend_secrets" VALUES(3,'secret_access_key','v1.tqdluoac.5tQ-8o6rOPfWVugC.lw_laNnDHGgHurYIG83JyHbqQchCthpqrD2Iq06rBJDCyz8',' key');
CREATE TABLE backend_status (
	backend_id INTEGER NOT NULL, 
	badge VARCHAR(16) NOT NULL, 
	latency_ms DOUBLE, 
	message VARCHAR NOT NULL, 
	remedy VARCHAR NOT NULL, 
	checked_at DOUBLE, 
	tested_at DOUBLE, 
	objects INTEGER, 
	bytes INTEGER, 
	counted_at DOUBLE, 
	counting_at DOUBLE, 
	counting_objects INTEGER NOT NULL, 
	counting_bytes INTEGER NOT NULL, 
	CONSTRAINT pk_backend_status PRIMARY KEY (backend_id), 
	CONSTRAINT fk_backend_status_backend_id_backends FOREIGN KEY(backend_id) REFERENCES backends (id) ON DELETE CASCADE
);
INSERT INTO "backend_status" VALUES(1,'healthy',2.0207299894536845386e-01,'','',1.79529377002499508858e+09,NULL,3,30,1.79529377018610835073e+09,NULL,0,0);
INSERT INTO "backend_status" VALUES(2,'healthy',1.3437199959298595786e-01,'','',1.79529377003761148458e+09,NULL,1,14,1.79529377018628215787e+09,NULL,0,0);
INSERT INTO "backend_status" VALUES(3,'down',NULL,'127.0.0.1:9 refused the connection.','Check the host and port of the endpoint, and that the server runs.',1.79529377174899530409e+09,NULL,NULL,NULL,NULL,NULL,0,0);
CREATE TABLE backends (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name VARCHAR(63) NOT NULL, 
	driver VARCHAR(32) NOT NULL, 
	preset VARCHAR(64) NOT NULL, 
	options JSON NOT NULL, 
	version INTEGER NOT NULL, 
	active BOOLEAN NOT NULL, 
	fallback_position INTEGER, 
	created_at DOUBLE NOT NULL, 
	updated_at DOUBLE NOT NULL, 
	CONSTRAINT uq_backends_name UNIQUE (name)
);
INSERT INTO "backends" VALUES(1,'local-disk','local','local','{"root": "{folder}/instance/files", "public_url": "", "read_only": "false", "encrypt": "false"}',1,1,NULL,1.79529375747602033611e+09,1.79529375747602033611e+09);
INSERT INTO "backends" VALUES(2,'other','local','local','{"root": "{folder}/other", "public_url": "", "read_only": "false", "encrypt": "false"}',1,0,NULL,1.79529376385841798785e+09,1.79529376385841798785e+09);
INSERT INTO "backends" VALUES(3,'cloud','s3','minio','{"endpoint": "http://127.0.0.1:9", "region": "us-east-1", "bucket": "photos", "access_key_id": "AKIDEXAMPLE", "prefix": "", "path_style": "true", "tls_verify": "true", "ca_certificate": "", "storage_class": "", "sse": "none", "sse_kms_key_id": "", "cdn_domain": "", "read_only": "false", "encrypt": "false"}',1,0,NULL,1.79529376662893366814e+09,1.79529376662893366814e+09);
CREATE TABLE comparisons (
	target_id INTEGER NOT NULL, 
	active_id INTEGER NOT NULL, 
	target_version INTEGER NOT NULL, 
	active_version INTEGER NOT NULL, 
	running BOOLEAN NOT NULL, 
	total INTEGER NOT NULL, 
	present INTEGER NOT NULL, 
	missing INTEGER NOT NULL, 
	differing INTEGER NOT NULL, 
	started_at DOUBLE, 
	at DOUBLE, 
	message VARCHAR NOT NULL, 
	CONSTRAINT pk_comparisons PRIMARY KEY (target_id), 
	CONSTRAINT fk_comparisons_target_id_backends FOREIGN KEY(target_id) REFERENCES backends (id) ON DELETE CASCADE, 
	CONSTRAINT fk_comparisons_active_id_backends FOREIGN KEY(active_id) REFERENCES backends (id) ON DELETE CASCADE
);
CREATE TABLE jobs (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	kind VARCHAR(32) NOT NULL, 
	subject_id INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	owner VARCHAR(64) NOT NULL, 
	fence INTEGER NOT NULL, 
	lease_until DOUBLE, 
	attempts INTEGER NOT NULL, 
	not_before DOUBLE NOT NULL, 
	message VARCHAR NOT NULL, 
	created_at DOUBLE NOT NULL, 
	started_at DOUBLE, 
	finished_at DOUBLE
);
INSERT INTO "jobs" VALUES(1,'check',1,'done','vm:7424',1,1.79529379993560481067e+09,1,0.0,'',1.79529375750555205346e+09,1.79529376993560481077e+09,1.79529377007650732989e+09);
INSERT INTO "jobs" VALUES(2,'count',1,'done','vm:7424',1,1.79529380004437732693e+09,1,0.0,'',1.79529375750726246838e+09,1.79529377004437732693e+09,1.79529377023696804045e+09);
INSERT INTO "jobs" VALUES(3,'check',2,'done','vm:7424',1,1.79529379997692322733e+09,1,0.0,'',1.7952937638705632686e+09,1.79529376997692322734e+09,1.79529377057231402398e+09);
INSERT INTO "jobs" VALUES(4,'count',2,'done','vm:7424',1,1.79529380012407660483e+09,1,0.0,'',1.79529376387831425664e+09,1.7952937701240766048e+09,1.79529377043590664866e+09);
INSERT INTO "jobs" VALUES(5,'check',3,'done','vm:7424',1,1.79529380017507672311e+09,1,0.0,'',1.79529376666753888135e+09,1.79529377017507672312e+09,1.79529377175865054129e+09);
INSERT INTO "jobs" VALUES(6,'count',3,'failed','vm:7424',1,1.79529380027720785145e+09,1,0.0,'127.0.0.1:9 refused the connection.',1.79529376667940521235e+09,1.79529377027720785141e+09,1.79529377195684456823e+09);
INSERT INTO "jobs" VALUES(7,'migration',1,'done','vm:7424',1,1.79529379992018818862e+09,1,0.0,'',1.79529376986279153817e+09,1.79529376992018818853e+09,1.79529377080746793747e+09);
INSERT INTO "jobs" VALUES(8,'check',1,'queued','',0,NULL,0,0.0,'',1.79529377078695774076e+09,NULL,NULL);
INSERT INTO "jobs" VALUES(9,'count',1,'queued','',0,NULL,0,0.0,'',1.79529377078753137582e+09,NULL,NULL);
INSERT INTO "jobs" VALUES(10,'check',2,'queued','',0,NULL,0,0.0,'',1.79529377078791880606e+09,NULL,NULL);
INSERT INTO "jobs" VALUES(11,'count',2,'queued','',0,NULL,0,0.0,'',1.79529377080604791638e+09,NULL,NULL);
CREATE TABLE migrations (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	source VARCHAR(63) NOT NULL, 
	source_id INTEGER, 
	destination VARCHAR(63) NOT NULL, 
	destination_id INTEGER, 
	spec JSON NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	outcome VARCHAR(16), 
	control VARCHAR(16) NOT NULL, 
	approved_at DOUBLE, 
	approved_by VARCHAR(64) NOT NULL, 
	message VARCHAR NOT NULL, 
	remedy VARCHAR NOT NULL, 
	created_by VARCHAR(64) NOT NULL, 
	created_at DOUBLE NOT NULL, 
	started_at DOUBLE, 
	finished_at DOUBLE, 
	elapsed DOUBLE NOT NULL, 
	CONSTRAINT fk_migrations_source_id_backends FOREIGN KEY(source_id) REFERENCES backends (id) ON DELETE SET NULL, 
	CONSTRAINT fk_migrations_destination_id_backends FOREIGN KEY(destination_id) REFERENCES backends (id) ON DELETE SET NULL
);
INSERT INTO "migrations" VALUES(1,'local-disk',1,'other',2,'{"prefix": "", "include": [], "exclude": [], "on_conflict": "fail", "verify": "checksum", "dry_run": false, "delete_source": false, "workers": 32}','finished','with_errors','run',1.79529376982713532442e+09,'root','','','root',1.79529376982713532442e+09,1.79529377032462859149e+09,1.79529377078227853773e+09,7.63209754000854445621e-01);
CREATE TABLE schedule (
	id INTEGER NOT NULL, 
	kind VARCHAR(32) NOT NULL, 
	subject_id INTEGER NOT NULL, 
	every DOUBLE NOT NULL, 
	next_run DOUBLE NOT NULL, 
	CONSTRAINT pk_schedule PRIMARY KEY (id), 
	CONSTRAINT uq_schedule_kind_subject_id UNIQUE (kind, subject_id)
);
INSERT INTO "schedule" VALUES(1,'count',3,21600.0,1.79531536991035914419e+09);
INSERT INTO "schedule" VALUES(2,'check',2,60.0,1.79529382991035914417e+09);
INSERT INTO "schedule" VALUES(3,'count',1,21600.0,1.79531536991035914419e+09);
INSERT INTO "schedule" VALUES(4,'check',3,60.0,1.79529382991035914417e+09);
INSERT INTO "schedule" VALUES(5,'count',2,21600.0,1.79531536991035914419e+09);
INSERT INTO "schedule" VALUES(6,'check',1,60.0,1.79529382991035914417e+09);
CREATE TABLE sessions (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	token_hash VARCHAR(64) NOT NULL, 
	user_id INTEGER NOT NULL, 
	created_at DOUBLE NOT NULL, 
	last_seen DOUBLE NOT NULL, 
	expires_at DOUBLE NOT NULL, 
	address VARCHAR(64) NOT NULL, 
	CONSTRAINT uq_sessions_token_hash UNIQUE (token_hash), 
	CONSTRAINT fk_sessions_user_id_users FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE TABLE settings (
	"key" VARCHAR(64) NOT NULL, 
	value VARCHAR, 
	sealed VARCHAR, 
	CONSTRAINT pk_settings PRIMARY KEY ("key"), 
	CONSTRAINT plain_or_sealed CHECK (value IS NULL OR sealed IS NULL)
);
INSERT INTO "settings" VALUES('session_secret',NULL,'v1.tqdluoac.LhW5IIsTC_rCKcLe.3m6o8B90yOU_Mz_Ja21lquhbjMddSawSYkyDd0cmjW2tkJ3f1YF2ZU7jzmEQrRsXOwKKl7IknvpOf4TkgyyGZnIHT1eCNLVRWRJ7VPm7jSQ');
CREATE TABLE sign_in_attempts (
	scope VARCHAR(16) NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	failures INTEGER NOT NULL, 
	last_at DOUBLE NOT NULL, 
	blocked_until DOUBLE NOT NULL, 
	CONSTRAINT pk_sign_in_attempts PRIMARY KEY (scope, name)
);
CREATE TABLE users (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	username VARCHAR(64) NOT NULL, 
	password_hash VARCHAR NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	disabled BOOLEAN NOT NULL, 
	created_at DOUBLE NOT NULL, 
	last_sign_in DOUBLE, 
	CONSTRAINT uq_users_username UNIQUE (username)
);
INSERT INTO "users" VALUES(1,'ann','$argon2id$v=19$m=65536,t=3,p=4$TDbYrjLDPK6v5gdwD64twQ$Cih2n/ZLoklSf2Ii7HxrA1jLa50nAub9qhXTL4kv1Jo','admin',0,1.79529375746056365972e+09,NULL);
INSERT INTO "users" VALUES(2,'bob','$argon2id$v=19$m=65536,t=3,p=4$7Vr/KYQ9v1zy1ZLDknPv3A$IHfLphGycBC6miTZhRceFwI0gdlrOIDHLCLffYXG3ZU','operator',0,1.79529376087626361849e+09,NULL);
CREATE INDEX ix_sign_in_attempts_last_at ON sign_in_attempts (last_at);
CREATE UNIQUE INDEX one_active_backend ON backends (active) WHERE active = 1;
CREATE INDEX ix_audit_at ON audit (at);
CREATE INDEX ix_audit_action ON audit (action);
CREATE INDEX ix_audit_actor ON audit (actor);
CREATE INDEX ix_jobs_claim ON jobs (state, not_before, id);
CREATE INDEX ix_jobs_subject ON jobs (kind, subject_id);
CREATE INDEX ix_schedule_next_run ON schedule (next_run);
CREATE INDEX ix_sessions_expires_at ON sessions (expires_at);
CREATE INDEX ix_sessions_user_id ON sessions (user_id);
CREATE INDEX ix_migrations_destination_id ON migrations (destination_id);
CREATE INDEX ix_migrations_source_id ON migrations (source_id);
CREATE INDEX ix_migrations_state ON migrations (state);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('users',2);
INSERT INTO "sqlite_sequence" VALUES('backends',3);
INSERT INTO "sqlite_sequence" VALUES('jobs',11);
INSERT INTO "sqlite_sequence" VALUES('audit',8);
INSERT INTO "sqlite_sequence" VALUES('migrations',1);
COMMIT;
PRAGMA user_version = 1;
