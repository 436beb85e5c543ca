BEGIN TRANSACTION;
CREATE TABLE migration_counters (
	migration_id INTEGER NOT NULL, 
	fence INTEGER DEFAULT 0 NOT NULL, 
	token VARCHAR(32) DEFAULT '' NOT NULL, 
	listing_final BOOLEAN DEFAULT 0 NOT NULL, 
	markers VARCHAR DEFAULT '' NOT NULL, 
	found INTEGER DEFAULT 0 NOT NULL, 
	found_bytes INTEGER DEFAULT 0 NOT NULL, 
	copied INTEGER DEFAULT 0 NOT NULL, 
	copied_bytes INTEGER DEFAULT 0 NOT NULL, 
	verified INTEGER DEFAULT 0 NOT NULL, 
	verified_bytes INTEGER DEFAULT 0 NOT NULL, 
	skipped INTEGER DEFAULT 0 NOT NULL, 
	skipped_bytes INTEGER DEFAULT 0 NOT NULL, 
	failed INTEGER DEFAULT 0 NOT NULL, 
	failed_bytes INTEGER DEFAULT 0 NOT NULL, 
	deleted INTEGER DEFAULT 0 NOT NULL, 
	deleted_bytes INTEGER DEFAULT 0 NOT NULL, 
	to_copy INTEGER DEFAULT 0 NOT NULL, 
	to_copy_bytes INTEGER DEFAULT 0 NOT NULL, 
	to_replace INTEGER DEFAULT 0 NOT NULL, 
	to_replace_bytes INTEGER DEFAULT 0 NOT NULL, 
	to_compare INTEGER DEFAULT 0 NOT NULL, 
	to_compare_bytes INTEGER DEFAULT 0 NOT NULL, 
	to_keep_both INTEGER DEFAULT 0 NOT NULL, 
	to_keep_both_bytes INTEGER DEFAULT 0 NOT NULL, 
	PRIMARY KEY (migration_id)
);
INSERT INTO "migration_counters" VALUES(1,7340033,'34b310789f25ada9b5d995a661cd9691',1,'[]',3,30,2,20,2,20,0,0,1,10,0,0,2,20,0,0,0,0,0,0);
CREATE TABLE migration_failure_groups (
	migration_id INTEGER NOT NULL, 
	kind VARCHAR(24) NOT NULL, 
	reason VARCHAR NOT NULL, 
	remedy VARCHAR NOT NULL, 
	example VARCHAR NOT NULL, 
	objects INTEGER NOT NULL, 
	PRIMARY KEY (migration_id, kind, reason)
);
INSERT INTO "migration_failure_groups" VALUES(1,'conflict','There is an object with this name at the destination already.','Choose another way to treat existing objects, or remove the one at the destination.','b.txt',1);
CREATE TABLE migration_listing (
	migration_id INTEGER NOT NULL, 
	"key" VARCHAR NOT NULL, 
	size INTEGER NOT NULL, 
	modified FLOAT, 
	etag VARCHAR, 
	PRIMARY KEY (migration_id, "key")
)
 WITHOUT ROWID

;
CREATE TABLE migration_live (
	migration_id INTEGER NOT NULL, 
	at FLOAT NOT NULL, 
	status VARCHAR NOT NULL, 
	PRIMARY KEY (migration_id)
);
INSERT INTO "migration_live" VALUES(1,1.79529379224176216123e+09,'{"phase": "", "in_flight": [], "rate_bytes": 0.0, "rate_objects": 0.0, "eta": null, "stopping": false, "at": 1795293792.2417622}');
CREATE TABLE migration_names (
	migration_id INTEGER NOT NULL, 
	folded VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	PRIMARY KEY (migration_id, folded)
)
 WITHOUT ROWID

;
CREATE TABLE migration_objects (
	id INTEGER NOT NULL, 
	migration_id INTEGER NOT NULL, 
	"key" VARCHAR NOT NULL, 
	size INTEGER NOT NULL, 
	modified FLOAT, 
	etag VARCHAR, 
	state VARCHAR(16) NOT NULL, 
	action VARCHAR(16) NOT NULL, 
	found VARCHAR DEFAULT '*' NOT NULL, 
	attempts INTEGER DEFAULT 0 NOT NULL, 
	interrupted INTEGER DEFAULT 0 NOT NULL, 
	kind VARCHAR(24) DEFAULT '' NOT NULL, 
	reason VARCHAR DEFAULT '' NOT NULL, 
	remedy VARCHAR DEFAULT '' NOT NULL, 
	destination_key VARCHAR DEFAULT '' NOT NULL, 
	source_checksum VARCHAR DEFAULT '' NOT NULL, 
	destination_checksum VARCHAR DEFAULT '' NOT NULL, 
	source_version VARCHAR DEFAULT '' NOT NULL, 
	destination_etag VARCHAR DEFAULT '' NOT NULL, 
	started_at FLOAT, 
	finished_at FLOAT, 
	seen INTEGER DEFAULT 0 NOT NULL, 
	deleted BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_migration_objects_key UNIQUE (migration_id, "key")
);
INSERT INTO "migration_objects" VALUES(1,1,'a.txt',10,1700000000.0,NULL,'verified','copy','',1,0,'','','','','e09c80c42fda55f9d992e59ca6b3307d','e09c80c42fda55f9d992e59ca6b3307d','244002-18ea2a30515dccd6-17979cfe362a0000-a','',1.7952937920545098782e+09,1.79529379213750982279e+09,7340033,0);
INSERT INTO "migration_objects" VALUES(2,1,'b.txt',10,1700000001.0,NULL,'failed','fail','14 1795293788.4731443 ',0,0,'conflict','There is an object with this name at the destination already.','Choose another way to treat existing objects, or remove the one at the destination.','','','','','',NULL,NULL,0,0);
INSERT INTO "migration_objects" VALUES(3,1,X'636166EDB3A92E747874',10,1700000002.0,NULL,'verified','copy','',1,0,'','','','','e9b3390206d8dfc5ffc9b09284c0bbde','e9b3390206d8dfc5ffc9b09284c0bbde','244013-18ea2a30515f9670-17979cfead5f9400-a','',1.7952937920545098782e+09,1.79529379213757038112e+09,7340033,0);
CREATE INDEX ix_migration_objects_state ON migration_objects (migration_id, state, id);
CREATE INDEX ix_migration_objects_own_keys ON migration_objects (migration_id, destination_key) WHERE destination_key != '';
CREATE INDEX ix_migration_objects_unswept ON migration_objects (migration_id, id) WHERE interrupted = 1;
COMMIT;
PRAGMA user_version = 6;
