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
INSERT INTO "audit" VALUES(1,1.79529378072530269622e+09,'root','cli','','backend.add','local-disk','{"preset": "local", "option.root": "{folder}/instance/files", "option.mounted": "false", "option.read_only": "false", "option.fallback": "false", "option.encrypt": "false", "option.cache": "false", "option.cache_size": "1024", "option.cache_seconds": "0", "option.cdn_purge": "none"}','done');
INSERT INTO "audit" VALUES(2,1.79529378073344349862e+09,'root','cli','','setup','ann','{}','done');
INSERT INTO "audit" VALUES(3,1.79529378378936910632e+09,'root','cli','','user.add','bob','{"role": "operator"}','done');
INSERT INTO "audit" VALUES(4,1.7952937856349086761e+09,'root','cli','','backend.add','other','{"preset": "local", "option.root": "{folder}/other", "option.mounted": "false", "option.read_only": "false", "option.fallback": "false", "option.encrypt": "false", "option.cache": "false", "option.cache_size": "1024", "option.cache_seconds": "0", "option.cdn_purge": "none"}','done');
INSERT INTO "audit" VALUES(5,1.79529378771306085587e+09,'root','cli','','backend.add','cloud','{"preset": "minio", "option.endpoint": "http://127.0.0.1:9", "option.region": "us-east-1", "option.bucket": "photos", "option.access_key_id": "AKIDEXAMPLE", "option.path_style": "true", "option.tls_verify": "true", "option.sse": "none", "option.read_only": "false", "option.fallback": "false", "option.encrypt": "false", "option.cache": "false", "option.cache_size": "1024", "option.cache_seconds": "0", "option.cdn_purge": "none", "secrets": "secret_access_key"}','done');
INSERT INTO "audit" VALUES(6,1.79529378999011206621e+09,'root','cli','','migration.create','1','{"command": "stowage migrate local-disk other --on-conflict fail", "approved": "yes"}','done');
INSERT INTO "audit" VALUES(7,1.79529379106554293635e+09,'runner','runner','','migration.start','1','{}','done');
INSERT INTO "audit" VALUES(8,1.79529379224669146533e+09,'runner','runner','','migration.finish','1','{"result": "with_errors"}','done');
CREATE TABLE backend_names (
	backend_id INTEGER NOT NULL, 
	version INTEGER NOT NULL, 
	rules VARCHAR NOT NULL, 
	learnt_at DOUBLE NOT NULL, 
	CONSTRAINT pk_backend_names PRIMARY KEY (backend_id), 
	CONSTRAINT fk_backend_names_backend_id_backends FOREIGN KEY(backend_id) REFERENCES backends (id) ON DELETE CASCADE
);
INSERT INTO "backend_names" VALUES(2,1,'[false, false, []]',1.79529379166383600235e+09);
CREATE TABLE backend_secrets (
	backend_id INTEGER NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	sealed VARCHAR NOT NULL, 
	hint VARCHAR(8) NOT NULL, 
	sent_to VARCHAR DEFAULT '' NOT NULL, 
	CONSTRAINT pk_backend_secrets PRIMARY KEY (backend_id, name), 
	CONSTRAINT fk_backend_secrets_backend_id_backends FOREIGN KEY(backend_id) REFERENCES backends (id) ON DELETE CASCADE
);
INSERT INTO "backend_secrets" VALUES(3,'secret_access_key','v2.r4rq4sdw.GdYB51Oh4HkQAAql.JV8LCGtB6Un7NvnHjqGmO_iq9PQsFc9isOlE7bKICqh0bKE',' key','{"ca_certificate": "", "driver": "s3", "endpoint": "http://127.0.0.1:9", "path_style": "true", "region": "us-east-1", "tls_verify": "true"}');
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
	unreadable_folders INTEGER DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_backend_status PRIMARY KEY (backend_id), 
	CONSTRAINT fk_backend_status_backend_id_backends FOREIGN KEY(backend_id) REFERENCES backends (id) ON DELETE CASCADE
);
INSERT INTO "backend_status" VALUES(1,'healthy',3.37125000078231096267e+00,'','',1.79529379080876159667e+09,NULL,3,30,1.79529379119117498395e+09,NULL,0,0,0);
INSERT INTO "backend_status" VALUES(2,'healthy',6.54813000437570735812e-01,'','',1.79529379081145048146e+09,NULL,1,14,1.7952937911580724716e+09,NULL,0,0,0);
INSERT INTO "backend_status" VALUES(3,'down',NULL,'127.0.0.1:9 refused the connection.','Check the host and port of the endpoint, and that the server runs.',1.79529379300694727893e+09,NULL,NULL,NULL,NULL,NULL,0,0,0);
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
INSERT INTO "backends" VALUES(1,'local-disk','local','local','{"root": "{folder}/instance/files", "mounted": "false", "public_url": "", "read_only": "false", "fallback": "false", "encrypt": "false", "compress": "", "cache": "false", "cache_size": "1024", "cache_seconds": "0", "cdn_domain": "", "cdn_purge": "none", "cdn_zone": "", "cdn_key_id": ""}',1,1,NULL,1.79529378069517254828e+09,1.79529378069517254828e+09);
INSERT INTO "backends" VALUES(2,'other','local','local','{"root": "{folder}/other", "mounted": "false", "public_url": "", "read_only": "false", "fallback": "false", "encrypt": "false", "compress": "", "cache": "false", "cache_size": "1024", "cache_seconds": "0", "cdn_domain": "", "cdn_purge": "none", "cdn_zone": "", "cdn_key_id": ""}',1,0,NULL,1.79529378562490725523e+09,1.79529378562490725523e+09);
INSERT INTO "backends" VALUES(3,'cloud','s3','minio','{"endpoint": "http://127.0.0.1:9", "region": "us-east-1", "bucket": "photos", "access_key_id": "AKIDEXAMPLE", "prefix": "", "path_style": "true", "tls_verify": "true", "ca_certificate": "", "storage_class": "", "sse": "none", "sse_kms_key_id": "", "read_only": "false", "fallback": "false", "encrypt": "false", "compress": "", "cache": "false", "cache_size": "1024", "cache_seconds": "0", "cdn_domain": "", "cdn_purge": "none", "cdn_zone": "", "cdn_key_id": ""}',1,0,NULL,1.79529378764197754857e+09,1.79529378764197754857e+09);
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
INSERT INTO "jobs" VALUES(1,'check',1,'done','vm:8365',1,1.79529382035436749459e+09,1,0.0,'',1.79529378071747469898e+09,1.79529379035436749455e+09,1.79529379123062062268e+09);
INSERT INTO "jobs" VALUES(2,'count',1,'done','vm:8365',1,1.79529382072117590909e+09,1,0.0,'',1.79529378072470045084e+09,1.79529379072117590901e+09,1.79529379125974178311e+09);
INSERT INTO "jobs" VALUES(3,'check',2,'done','vm:8365',1,1.79529382055392313006e+09,1,0.0,'',1.79529378563357114792e+09,1.79529379055392313002e+09,1.79529379101113319401e+09);
INSERT INTO "jobs" VALUES(4,'count',2,'done','vm:8365',1,1.79529382092868638031e+09,1,0.0,'',1.79529378563463497169e+09,1.7952937909286863804e+09,1.79529379142991685862e+09);
INSERT INTO "jobs" VALUES(5,'check',3,'done','vm:8365',1,1.79529382106312489515e+09,1,0.0,'',1.79529378769306254383e+09,1.79529379106312489506e+09,1.79529379302089047432e+09);
INSERT INTO "jobs" VALUES(6,'count',3,'failed','vm:8365',1,1.79529382130386352543e+09,1,0.0,'127.0.0.1:9 refused the connection.',1.79529378769483304026e+09,1.7952937913038635254e+09,1.79529379300472760206e+09);
INSERT INTO "jobs" VALUES(7,'migration',1,'done','vm:8365',1,1.79529382024088931084e+09,1,0.0,'',1.79529379000508880611e+09,1.79529379024088931076e+09,1.79529379227697253231e+09);
INSERT INTO "jobs" VALUES(8,'check',1,'queued','',0,NULL,0,0.0,'',1.79529379225260543821e+09,NULL,NULL);
INSERT INTO "jobs" VALUES(9,'count',1,'queued','',0,NULL,0,0.0,'',1.79529379225330877308e+09,NULL,NULL);
INSERT INTO "jobs" VALUES(10,'check',2,'queued','',0,NULL,0,0.0,'',1.7952937922537186146e+09,NULL,NULL);
INSERT INTO "jobs" VALUES(11,'count',2,'queued','',0,NULL,0,0.0,'',1.79529379225406432148e+09,NULL,NULL);
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
INSERT INTO "migrations" VALUES(1,'local-disk',1,'other',2,'{"prefix": "", "include": [], "exclude": [], "on_conflict": "fail", "verify": "checksum", "dry_run": false, "delete_source": false, "workers": 32}','finished','with_errors','run',1.79529378995904803271e+09,'root','','','root',1.79529378995904803271e+09,1.79529379106547570224e+09,1.79529379224666929245e+09,1.32688288999997894279e+00);
CREATE TABLE schedule (
	id INTEGER NOT NULL, 
	kind VARCHAR(32) NOT NULL, 
	subject_id INTEGER NOT NULL, 
	every DOUBLE NOT NULL, 
	next_run DOUBLE NOT NULL, 
	CONSTRAINT pk_schedule PRIMARY KEY (id), 
	CONSTRAINT uq_schedule_kind_subject_id UNIQUE (kind, subject_id)
);
INSERT INTO "schedule" VALUES(1,'count',1,21600.0,1.79531539021632695202e+09);
INSERT INTO "schedule" VALUES(2,'check',2,60.0,1.795293850216326952e+09);
INSERT INTO "schedule" VALUES(3,'check',3,60.0,1.795293850216326952e+09);
INSERT INTO "schedule" VALUES(4,'count',2,21600.0,1.79531539021632695202e+09);
INSERT INTO "schedule" VALUES(5,'check',1,60.0,1.795293850216326952e+09);
INSERT INTO "schedule" VALUES(6,'count',3,21600.0,1.79531539021632695202e+09);
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
INSERT INTO "settings" VALUES('session_secret',NULL,'v1.r4rq4sdw.9zFDaETqzeBdGRDx.RxDSkLM3v4ry3AResKmIOXdIT-1N2jTXpkH2FLo-5PWmBMpgPzie9vVyuU4CcDf3-IbT2epmrOoMXSl70_dfI9sD3tTSLVRVnfNrlXw1GQU');
INSERT INTO "settings" VALUES('secrets_bound',NULL,'v1.r4rq4sdw.48BwTaodximUqw6M.CrYSaaICJBYtImxTxnumnIDeEMhXKn8L2wzi97I');
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
INSERT INTO "users" VALUES(1,'ann','$argon2id$v=19$m=65536,t=3,p=4$gCPn4gxKEUZdohl4OURXzg$FT7UVyGWifATTbLeVRLLu2o2U+xz4AuiB2o8vFYJrio','admin',0,1.79529378068638706205e+09,NULL);
INSERT INTO "users" VALUES(2,'bob','$argon2id$v=19$m=65536,t=3,p=4$PZfQDI+9w4Ahcc40pw0tOg$Hp+AC0RBhIv/uzVYDnnHumujchp1U8Uu+BginkFFSW4','operator',0,1.79529378377967405318e+09,NULL);
CREATE TABLE waiting_holds (
	id INTEGER NOT NULL, 
	home_id INTEGER NOT NULL, 
	"key" BLOB NOT NULL, 
	owner VARCHAR NOT NULL, 
	until DOUBLE NOT NULL, 
	CONSTRAINT pk_waiting_holds PRIMARY KEY (id), 
	CONSTRAINT fk_waiting_holds_home_id_backends FOREIGN KEY(home_id) REFERENCES backends (id) ON DELETE CASCADE
);
CREATE TABLE waiting_objects (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	home_id INTEGER NOT NULL, 
	stand_in_id INTEGER NOT NULL, 
	"key" BLOB NOT NULL, 
	stored_key BLOB NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	size INTEGER NOT NULL, 
	md5 VARCHAR(32) NOT NULL, 
	message VARCHAR NOT NULL, 
	since DOUBLE NOT NULL, 
	changed_at DOUBLE NOT NULL, 
	owner VARCHAR DEFAULT '' NOT NULL, 
	attributes VARCHAR, 
	attempts VARCHAR DEFAULT '' NOT NULL, 
	create_only BOOLEAN DEFAULT '0' NOT NULL, 
	CONSTRAINT fk_waiting_objects_home_id_backends FOREIGN KEY(home_id) REFERENCES backends (id) ON DELETE RESTRICT, 
	CONSTRAINT fk_waiting_objects_stand_in_id_backends FOREIGN KEY(stand_in_id) REFERENCES backends (id) ON DELETE RESTRICT
);
CREATE TABLE waiting_tries (
	id INTEGER NOT NULL, 
	home_id INTEGER NOT NULL, 
	"key" BLOB NOT NULL, 
	md5 VARCHAR(32) NOT NULL, 
	size INTEGER NOT NULL, 
	owner VARCHAR NOT NULL, 
	at DOUBLE NOT NULL, 
	CONSTRAINT pk_waiting_tries PRIMARY KEY (id), 
	CONSTRAINT fk_waiting_tries_home_id_backends FOREIGN KEY(home_id) REFERENCES backends (id) ON DELETE CASCADE
);
CREATE INDEX ix_sign_in_attempts_last_at ON sign_in_attempts (last_at);
CREATE UNIQUE INDEX one_active_backend ON backends (active) WHERE active = 1;
CREATE INDEX ix_audit_at ON audit (at);
CREATE INDEX ix_audit_actor ON audit (actor);
CREATE INDEX ix_audit_action ON audit (action);
CREATE INDEX ix_jobs_claim ON jobs (state, not_before, id);
CREATE INDEX ix_jobs_subject ON jobs (kind, subject_id);
CREATE INDEX ix_schedule_next_run ON schedule (next_run);
CREATE INDEX ix_sessions_expires_at ON sessions (expires_at);
CREATE INDEX ix_sessions_user_id ON sessions (user_id);
CREATE INDEX ix_migrations_source_id ON migrations (source_id);
CREATE INDEX ix_migrations_destination_id ON migrations (destination_id);
CREATE INDEX ix_migrations_state ON migrations (state);
CREATE INDEX ix_waiting_key ON waiting_objects (home_id, "key", id);
CREATE INDEX ix_waiting_objects_stand_in_id ON waiting_objects (stand_in_id);
CREATE INDEX ix_waiting_holds_key ON waiting_holds (home_id, "key");
CREATE INDEX ix_waiting_tries_key ON waiting_tries (home_id, "key");
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('users',2);
INSERT INTO "sqlite_sequence" VALUES('backends',3);
INSERT INTO "sqlite_sequence" VALUES('jobs',11);
INSERT INTO "sqlite_sequence" VALUES('audit',8);
INSERT INTO "sqlite_sequence" VALUES('migrations',1);
COMMIT;
PRAGMA user_version = 8;
