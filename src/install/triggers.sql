CREATE FUNCTION provconn.guard_connection()
RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'provconn_guard_connection';

CREATE FUNCTION provconn.audit_connection()
RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'provconn_audit_connection';

CREATE FUNCTION provconn.guard_provider()
RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'provconn_guard_provider';

CREATE FUNCTION provconn.open_provider()
RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'provconn_open_provider';

CREATE FUNCTION provconn.guard_data_key()
RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'provconn_guard_data_key';

CREATE FUNCTION provconn.notice_change()
RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'provconn_notice_change';

CREATE FUNCTION provconn.guard_audit()
RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'provconn_guard_audit';

CREATE FUNCTION provconn.guard_seal()
RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'provconn_guard_seal';

CREATE FUNCTION provconn.guard_import()
RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'provconn_guard_import';

-- The guard's name sorts last, so that it sees what other BEFORE triggers made.
CREATE TRIGGER zz_provconn_guard BEFORE INSERT OR UPDATE OR DELETE ON provconn.connection
    FOR EACH ROW EXECUTE FUNCTION provconn.guard_connection();
CREATE TRIGGER provconn_no_truncate BEFORE TRUNCATE ON provconn.connection
    FOR EACH STATEMENT EXECUTE FUNCTION provconn.guard_connection();
CREATE TRIGGER provconn_audit AFTER INSERT OR UPDATE ON provconn.connection
    FOR EACH ROW EXECUTE FUNCTION provconn.audit_connection();

-- What the library itself writes fires no statement triggers: only SQL does.
CREATE TRIGGER provconn_import BEFORE INSERT ON provconn.connection
    FOR EACH STATEMENT EXECUTE FUNCTION provconn.guard_import();
CREATE TRIGGER provconn_import BEFORE INSERT ON provconn.audit
    FOR EACH STATEMENT EXECUTE FUNCTION provconn.guard_import();
CREATE TRIGGER provconn_import BEFORE INSERT ON provconn.seal
    FOR EACH STATEMENT EXECUTE FUNCTION provconn.guard_import();

CREATE TRIGGER provconn_import BEFORE INSERT ON provconn.archive
    FOR EACH STATEMENT EXECUTE FUNCTION provconn.guard_import();

CREATE TRIGGER provconn_guard BEFORE DELETE OR UPDATE ON provconn.archive
    FOR EACH ROW EXECUTE FUNCTION provconn.guard_seal();
CREATE TRIGGER provconn_no_truncate BEFORE TRUNCATE ON provconn.archive
    FOR EACH STATEMENT EXECUTE FUNCTION provconn.guard_seal();
CREATE TRIGGER provconn_guard BEFORE DELETE OR UPDATE ON provconn.seal
    FOR EACH ROW EXECUTE FUNCTION provconn.guard_seal();
CREATE TRIGGER provconn_no_truncate BEFORE TRUNCATE ON provconn.seal
    FOR EACH STATEMENT EXECUTE FUNCTION provconn.guard_seal();
CREATE TRIGGER provconn_guard BEFORE DELETE OR UPDATE ON provconn.import
    FOR EACH ROW EXECUTE FUNCTION provconn.guard_seal();
CREATE TRIGGER provconn_no_truncate BEFORE TRUNCATE ON provconn.import
    FOR EACH STATEMENT EXECUTE FUNCTION provconn.guard_seal();
CREATE TRIGGER provconn_guard BEFORE DELETE OR UPDATE ON provconn.seal_key
    FOR EACH ROW EXECUTE FUNCTION provconn.guard_data_key();
CREATE TRIGGER provconn_no_truncate BEFORE TRUNCATE ON provconn.seal_key
    FOR EACH STATEMENT EXECUTE FUNCTION provconn.guard_data_key();

CREATE TRIGGER provconn_guard BEFORE DELETE OR UPDATE OF provider_id ON provconn.provider
    FOR EACH ROW EXECUTE FUNCTION provconn.guard_provider();
CREATE TRIGGER provconn_no_truncate BEFORE TRUNCATE ON provconn.provider
    FOR EACH STATEMENT EXECUTE FUNCTION provconn.guard_provider();

CREATE TRIGGER provconn_open AFTER INSERT ON provconn.provider
    FOR EACH ROW EXECUTE FUNCTION provconn.open_provider();
CREATE TRIGGER provconn_notice AFTER INSERT OR UPDATE OR DELETE ON provconn.provider
    FOR EACH ROW EXECUTE FUNCTION provconn.notice_change();

CREATE TRIGGER provconn_guard BEFORE DELETE OR UPDATE ON provconn.data_key
    FOR EACH ROW EXECUTE FUNCTION provconn.guard_data_key();
CREATE TRIGGER provconn_no_truncate BEFORE TRUNCATE ON provconn.data_key
    FOR EACH STATEMENT EXECUTE FUNCTION provconn.guard_data_key();
CREATE TRIGGER provconn_notice AFTER INSERT OR UPDATE OR DELETE ON provconn.data_key
    FOR EACH ROW EXECUTE FUNCTION provconn.notice_change();

CREATE TRIGGER provconn_audit_guard BEFORE UPDATE OR DELETE ON provconn.audit
    FOR EACH ROW EXECUTE FUNCTION provconn.guard_audit();
CREATE TRIGGER provconn_audit_no_truncate BEFORE TRUNCATE ON provconn.audit
    FOR EACH STATEMENT EXECUTE FUNCTION provconn.guard_audit();

ALTER TABLE provconn.connection ENABLE ALWAYS TRIGGER zz_provconn_guard;
ALTER TABLE provconn.connection ENABLE ALWAYS TRIGGER provconn_no_truncate;
ALTER TABLE provconn.connection ENABLE ALWAYS TRIGGER provconn_audit;
ALTER TABLE provconn.provider ENABLE ALWAYS TRIGGER provconn_guard;
ALTER TABLE provconn.provider ENABLE ALWAYS TRIGGER provconn_no_truncate;
ALTER TABLE provconn.provider ENABLE ALWAYS TRIGGER provconn_open;
ALTER TABLE provconn.provider ENABLE ALWAYS TRIGGER provconn_notice;
ALTER TABLE provconn.data_key ENABLE ALWAYS TRIGGER provconn_guard;
ALTER TABLE provconn.data_key ENABLE ALWAYS TRIGGER provconn_no_truncate;
ALTER TABLE provconn.data_key ENABLE ALWAYS TRIGGER provconn_notice;
ALTER TABLE provconn.audit ENABLE ALWAYS TRIGGER provconn_audit_guard;
ALTER TABLE provconn.audit ENABLE ALWAYS TRIGGER provconn_audit_no_truncate;
ALTER TABLE provconn.connection ENABLE ALWAYS TRIGGER provconn_import;
ALTER TABLE provconn.audit ENABLE ALWAYS TRIGGER provconn_import;
ALTER TABLE provconn.seal ENABLE ALWAYS TRIGGER provconn_import;
ALTER TABLE provconn.seal ENABLE ALWAYS TRIGGER provconn_guard;
ALTER TABLE provconn.seal ENABLE ALWAYS TRIGGER provconn_no_truncate;
ALTER TABLE provconn.archive ENABLE ALWAYS TRIGGER provconn_import;
ALTER TABLE provconn.archive ENABLE ALWAYS TRIGGER provconn_guard;
ALTER TABLE provconn.archive ENABLE ALWAYS TRIGGER provconn_no_truncate;
ALTER TABLE provconn.import ENABLE ALWAYS TRIGGER provconn_guard;
ALTER TABLE provconn.import ENABLE ALWAYS TRIGGER provconn_no_truncate;
ALTER TABLE provconn.seal_key ENABLE ALWAYS TRIGGER provconn_guard;
ALTER TABLE provconn.seal_key ENABLE ALWAYS TRIGGER provconn_no_truncate;

-- What is there now has to stay: provconn_doctor() goes by this.
INSERT INTO provconn.required_trigger (table_name, trigger_name, definition)
SELECT c.relname, t.tgname, pg_catalog.pg_get_triggerdef(t.oid)
FROM pg_catalog.pg_trigger AS t
JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE n.nspname OPERATOR(pg_catalog.=) 'provconn' AND NOT t.tgisinternal;
