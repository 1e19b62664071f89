COMMENT ON SCHEMA provconn IS
    'tables of provconn; read them through the provconn_ views, write them through the provconn_ functions';

-- Types

COMMENT ON TYPE @extschema@.provconn_status IS
    'state of a connection: pending, active, expired, revoked, failed or disconnected';
COMMENT ON TYPE @extschema@.provconn_credential_type IS
    'kind of credentials: oauth2, api_key, link_token, certificate, file_import or custom';
COMMENT ON TYPE @extschema@.provconn_secret IS
    'bytes that go in and never come out: prints as [redacted]; not for table columns';

COMMENT ON TYPE @extschema@.provconn_credentials IS
    'credentials of a provider: a secret, its kind, and when it expires';
COMMENT ON COLUMN @extschema@.provconn_credentials.secret IS 'what is sealed: opaque bytes, often JSON';
COMMENT ON COLUMN @extschema@.provconn_credentials.credential_type IS 'kind of credentials';
COMMENT ON COLUMN @extschema@.provconn_credentials.expires_at IS 'when they expire; null: never';

COMMENT ON TYPE @extschema@.provconn_connect_command IS 'argument of provconn_connect';
COMMENT ON COLUMN @extschema@.provconn_connect_command.user_id IS 'owner of the connection';
COMMENT ON COLUMN @extschema@.provconn_connect_command.provider_id IS 'provider to connect to';
COMMENT ON COLUMN @extschema@.provconn_connect_command.provider_slug IS 'slug of that provider, as a check';
COMMENT ON COLUMN @extschema@.provconn_connect_command.credentials IS 'credentials that the provider gave';
COMMENT ON COLUMN @extschema@.provconn_connect_command.alias IS 'name the user gave the connection, at most 100 characters, or null';

COMMENT ON TYPE @extschema@.provconn_disconnect_command IS 'argument of provconn_disconnect';
COMMENT ON COLUMN @extschema@.provconn_disconnect_command.user_id IS 'owner of the connection';
COMMENT ON COLUMN @extschema@.provconn_disconnect_command.connection_id IS 'connection to end';

COMMENT ON TYPE @extschema@.provconn_refresh_command IS 'argument of provconn_refresh and provconn_refresh_batch';
COMMENT ON COLUMN @extschema@.provconn_refresh_command.connection_id IS 'connection whose credentials are replaced';
COMMENT ON COLUMN @extschema@.provconn_refresh_command.credentials IS 'new credentials';

COMMENT ON TYPE @extschema@.provconn_result IS 'what became of a command: accepted, or refused and why';
COMMENT ON COLUMN @extschema@.provconn_result.ok IS 'true: accepted; false: refused, and nothing but the audit was written';
COMMENT ON COLUMN @extschema@.provconn_result.connection_id IS 'connection concerned; null where there is none';
COMMENT ON COLUMN @extschema@.provconn_result.status IS 'its state after the command';
COMMENT ON COLUMN @extschema@.provconn_result.version IS 'its version after the command';
COMMENT ON COLUMN @extschema@.provconn_result.error_code IS 'why the command was refused; null when it was accepted';
COMMENT ON COLUMN @extschema@.provconn_result.message IS 'the refusal in words; null when the command was accepted';
COMMENT ON COLUMN @extschema@.provconn_result.needs_user_action IS 'true: only the user can help, by authenticating with the provider again';

COMMENT ON TYPE @extschema@.provconn_claimed IS 'result of provconn_claim_due: a connection to refresh, with its credential in the clear';
COMMENT ON COLUMN @extschema@.provconn_claimed.connection_id IS 'connection to refresh';
COMMENT ON COLUMN @extschema@.provconn_claimed.user_id IS 'its owner';
COMMENT ON COLUMN @extschema@.provconn_claimed.provider_id IS 'its provider';
COMMENT ON COLUMN @extschema@.provconn_claimed.provider_slug IS 'slug of the provider';
COMMENT ON COLUMN @extschema@.provconn_claimed.secret IS 'the secret as bytes';
COMMENT ON COLUMN @extschema@.provconn_claimed.secret_text IS 'the same as text; null where the bytes are no text of this database';
COMMENT ON COLUMN @extschema@.provconn_claimed.credential_type IS 'kind of credentials';
COMMENT ON COLUMN @extschema@.provconn_claimed.expires_at IS 'when they expire';
COMMENT ON COLUMN @extschema@.provconn_claimed.version IS 'version of the credential';
COMMENT ON COLUMN @extschema@.provconn_claimed.attempt IS '1, or one more than the attempts that failed in a row';
COMMENT ON COLUMN @extschema@.provconn_claimed.lease IS 'for provconn_refresh, provconn_report_failure or provconn_release';
COMMENT ON COLUMN @extschema@.provconn_claimed.leased_until IS 'when others may claim the connection';
COMMENT ON TYPE @extschema@.provconn_revealed IS 'result of provconn_reveal: a credential in the clear, or why not';
COMMENT ON COLUMN @extschema@.provconn_revealed.ok IS 'true: revealed; false: refused';
COMMENT ON COLUMN @extschema@.provconn_revealed.connection_id IS 'connection concerned';
COMMENT ON COLUMN @extschema@.provconn_revealed.version IS 'version of the credential';
COMMENT ON COLUMN @extschema@.provconn_revealed.secret IS 'the secret as bytes';
COMMENT ON COLUMN @extschema@.provconn_revealed.secret_text IS 'the same as text; null where the bytes are no text of this database';
COMMENT ON COLUMN @extschema@.provconn_revealed.credential_type IS 'kind of credentials';
COMMENT ON COLUMN @extschema@.provconn_revealed.expires_at IS 'when they expire; null: never';
COMMENT ON COLUMN @extschema@.provconn_revealed.error_code IS 'why it was refused; null when it was not';
COMMENT ON COLUMN @extschema@.provconn_revealed.message IS 'the refusal in words; null when there is none';

-- The secret type's functions and casts

COMMENT ON FUNCTION @extschema@.provconn_secret_in(cstring) IS 'I/O: takes the bytes as they stand';
COMMENT ON FUNCTION @extschema@.provconn_secret_out(@extschema@.provconn_secret) IS 'I/O: [redacted], whatever the secret';
COMMENT ON FUNCTION @extschema@.provconn_secret_recv(internal) IS 'I/O: takes the bytes as they come';
COMMENT ON FUNCTION @extschema@.provconn_secret_send(@extschema@.provconn_secret) IS 'I/O: [redacted], whatever the secret';
COMMENT ON FUNCTION @extschema@.provconn_secret(text) IS 'makes a secret of the bytes of a text';
COMMENT ON FUNCTION @extschema@.provconn_secret(bytea) IS 'makes a secret of bytes';
COMMENT ON FUNCTION @extschema@.provconn_secret(json) IS 'makes a secret of a JSON text as it stands';
COMMENT ON FUNCTION @extschema@.provconn_secret(jsonb) IS 'makes a secret of the text form of a jsonb';
COMMENT ON CAST (text AS @extschema@.provconn_secret) IS 'implicit; no cast leads back';
COMMENT ON CAST (varchar AS @extschema@.provconn_secret) IS 'implicit; no cast leads back';
COMMENT ON CAST (bytea AS @extschema@.provconn_secret) IS 'implicit; no cast leads back';
COMMENT ON CAST (json AS @extschema@.provconn_secret) IS 'implicit; no cast leads back';
COMMENT ON CAST (jsonb AS @extschema@.provconn_secret) IS 'implicit; no cast leads back';

-- Constructors

COMMENT ON FUNCTION @extschema@.provconn_credentials(@extschema@.provconn_secret, @extschema@.provconn_credential_type, timestamptz)
    IS 'credentials of any kind from an opaque secret';
COMMENT ON FUNCTION @extschema@.provconn_oauth2_credentials(@extschema@.provconn_secret, @extschema@.provconn_secret, timestamptz, text, text)
    IS 'OAuth 2 credentials from separate tokens';
COMMENT ON FUNCTION @extschema@.provconn_api_key_credentials(@extschema@.provconn_secret, @extschema@.provconn_secret, timestamptz)
    IS 'credentials from an API key and, where there is one, its secret';
COMMENT ON FUNCTION @extschema@.provconn_token_response(@extschema@.provconn_secret, timestamptz)
    IS 'OAuth 2 credentials from the JSON text of a token response (RFC 6749, section 5.1)';
COMMENT ON FUNCTION @extschema@.provconn_connect_command(uuid, uuid, text, @extschema@.provconn_credentials, text)
    IS 'makes the argument of provconn_connect';
COMMENT ON FUNCTION @extschema@.provconn_disconnect_command(uuid, uuid)
    IS 'makes the argument of provconn_disconnect';
COMMENT ON FUNCTION @extschema@.provconn_refresh_command(uuid, @extschema@.provconn_credentials)
    IS 'makes the argument of provconn_refresh';

-- Commands

COMMENT ON FUNCTION @extschema@.provconn_initiate(uuid, uuid, text, text)
    IS 'begins a connection that has no credentials yet';
COMMENT ON FUNCTION @extschema@.provconn_connect(@extschema@.provconn_connect_command, uuid)
    IS 'makes a connection active: completes a pending one or creates one';
COMMENT ON FUNCTION @extschema@.provconn_refresh(@extschema@.provconn_refresh_command, uuid, integer)
    IS 'replaces the credentials of an active connection';
COMMENT ON FUNCTION @extschema@.provconn_refresh_batch(@extschema@.provconn_refresh_command[], uuid[], integer[])
    IS 'provconn_refresh for many connections: one result for each command, in order';
COMMENT ON FUNCTION @extschema@.provconn_disconnect(@extschema@.provconn_disconnect_command)
    IS 'ends a connection for good and erases its credentials';
COMMENT ON FUNCTION @extschema@.provconn_reveal(uuid, uuid, text)
    IS 'opens the credentials of an active connection for its owner; every call is audited';
COMMENT ON FUNCTION @extschema@.provconn_reauthenticate(uuid, uuid, @extschema@.provconn_credentials)
    IS 'gives an expired, revoked or failed connection new credentials';
COMMENT ON FUNCTION @extschema@.provconn_mark_expired(uuid, text)
    IS 'puts on record that an active connection needs its user; keeps the credentials';
COMMENT ON FUNCTION @extschema@.provconn_mark_revoked(uuid, text)
    IS 'puts on record that the provider withdrew its consent; keeps the credentials';
COMMENT ON FUNCTION @extschema@.provconn_mark_failed(uuid, text)
    IS 'puts on record that a pending connection was not completed';
COMMENT ON FUNCTION @extschema@.provconn_record_sync(uuid)
    IS 'notes that data was fetched from the provider just now';
COMMENT ON FUNCTION @extschema@.provconn_rename(uuid, uuid, text)
    IS 'gives a connection another alias; null: none';
COMMENT ON FUNCTION @extschema@.provconn_set_metadata(uuid, uuid, jsonb)
    IS 'replaces the metadata of a connection, a JSON object of at most 16 kB';
COMMENT ON FUNCTION @extschema@.provconn_claim_due(text, interval, integer, interval)
    IS 'leases connections to a worker that are due for a refresh, and reveals their credentials';
COMMENT ON FUNCTION @extschema@.provconn_report_failure(uuid, uuid, text, boolean)
    IS 'ends a lease: the refresh failed, for now or for good';
COMMENT ON FUNCTION @extschema@.provconn_release(uuid, uuid)
    IS 'ends a lease: nothing was tried';
COMMENT ON FUNCTION @extschema@.provconn_expire_overdue(interval, integer)
    IS 'moves active connections whose credentials have expired to expired; returns how many';
COMMENT ON FUNCTION @extschema@.provconn_reset_provider(uuid)
    IS 'closes the circuit breaker of a provider';
COMMENT ON FUNCTION @extschema@.provconn_unwrap(@extschema@.provconn_result)
    IS 'returns an accepted result and raises a refused one as an error';

-- Providers, states, shards, rights

COMMENT ON FUNCTION @extschema@.provconn_register_provider(text, text, @extschema@.provconn_credential_type, text, uuid)
    IS 'adds a provider and returns its id';
COMMENT ON FUNCTION @extschema@.provconn_set_provider_active(uuid, boolean)
    IS 'opens a provider for new connections, or closes it';
COMMENT ON FUNCTION @extschema@.provconn_list_transitions()
    IS 'rows of the view provconn_transitions';
COMMENT ON FUNCTION @extschema@.provconn_state_diagram(text)
    IS 'draws the states of a connection as mermaid or dot';
COMMENT ON FUNCTION @extschema@.provconn_doctor()
    IS 'says what is wrong with the installation, and the SQL that mends it';
COMMENT ON FUNCTION @extschema@.provconn_shard(uuid)
    IS 'shard of a user, 0 to 4095: the first 12 bits of SHA-256 over the user id';
COMMENT ON FUNCTION @extschema@.provconn_shard_of(uuid)
    IS 'shard that a connection id or audit id carries, 0 to 4095';
COMMENT ON FUNCTION @extschema@.provconn_grant(regrole, text)
    IS 'gives a role a capability; for the owner of the extension';
COMMENT ON FUNCTION @extschema@.provconn_revoke(regrole, text)
    IS 'takes a capability away from a role; for the owner of the extension';
COMMENT ON FUNCTION provconn.reapply_grants()
    IS 'grants again what provconn.role_grant lists; upgrades call it';

-- Keys, users who leave

COMMENT ON FUNCTION @extschema@.provconn_rotate_key()
    IS 'makes a new data key, which seals from the commit on; returns its id';
COMMENT ON PROCEDURE @extschema@.provconn_reencrypt(integer)
    IS 'seals everything with the current data key, beside live traffic; commits as it goes and can be resumed';
COMMENT ON FUNCTION @extschema@.provconn_retire_key(integer)
    IS 'destroys a data key that seals nothing any more';
COMMENT ON FUNCTION @extschema@.provconn_rewrap_keys()
    IS 'wraps all data keys by the current master key; returns how many';
COMMENT ON FUNCTION @extschema@.provconn_erase_user(uuid)
    IS 'disconnects a user, erases names, metadata and personal values in the audit; returns how many connections';

-- Triggers

COMMENT ON FUNCTION provconn.guard_connection()
    IS 'trigger: holds connections to the state machine and numbers their changes for the audit';
COMMENT ON FUNCTION provconn.audit_connection()
    IS 'trigger: writes the audit row of a change of a connection';
COMMENT ON FUNCTION provconn.guard_provider()
    IS 'trigger: a provider is never deleted and keeps its id';
COMMENT ON FUNCTION provconn.guard_data_key()
    IS 'forbids UPDATE, DELETE and TRUNCATE of provconn.data_key and provconn.seal_key';
COMMENT ON FUNCTION provconn.notice_change()
    IS 'trigger: makes all sessions read the rows of the table anew';
COMMENT ON TRIGGER provconn_notice ON provconn.data_key IS 'makes all sessions read the data keys anew';
COMMENT ON TRIGGER provconn_guard ON provconn.data_key IS 'forbids UPDATE and DELETE';
COMMENT ON TRIGGER provconn_no_truncate ON provconn.data_key IS 'forbids TRUNCATE';
COMMENT ON FUNCTION provconn.guard_audit()
    IS 'trigger: the audit is append-only';
COMMENT ON TRIGGER zz_provconn_guard ON provconn.connection
    IS 'forbids what the state machine forbids; sorts last to see what other triggers made';
COMMENT ON TRIGGER provconn_no_truncate ON provconn.connection IS 'forbids TRUNCATE';
COMMENT ON TRIGGER provconn_audit ON provconn.connection IS 'writes one audit row for each change';
COMMENT ON TRIGGER provconn_guard ON provconn.provider IS 'forbids DELETE and a change of provider_id';
COMMENT ON TRIGGER provconn_no_truncate ON provconn.provider IS 'forbids TRUNCATE';
COMMENT ON TRIGGER provconn_notice ON provconn.provider IS 'makes all sessions read the providers anew';
COMMENT ON TRIGGER provconn_audit_guard ON provconn.audit IS 'forbids UPDATE and DELETE';
COMMENT ON TRIGGER provconn_audit_no_truncate ON provconn.audit IS 'forbids TRUNCATE; every month has its own';
COMMENT ON TRIGGER provconn_import ON provconn.connection IS 'a restore leaves a trace in provconn.import';
COMMENT ON TRIGGER provconn_import ON provconn.audit
    IS 'a restore leaves a trace in provconn.import, all other INSERT is forbidden; every month has its own';
COMMENT ON TRIGGER provconn_import ON provconn.archive
    IS 'a restore leaves a trace in provconn.import, all other INSERT is forbidden';
COMMENT ON TRIGGER provconn_guard ON provconn.archive IS 'forbids UPDATE and DELETE';
COMMENT ON TRIGGER provconn_no_truncate ON provconn.archive IS 'forbids TRUNCATE';
COMMENT ON TRIGGER provconn_import ON provconn.seal
    IS 'a restore leaves a trace in provconn.import, all other INSERT is forbidden';
COMMENT ON TRIGGER provconn_guard ON provconn.seal IS 'forbids UPDATE and DELETE';
COMMENT ON TRIGGER provconn_no_truncate ON provconn.seal IS 'forbids TRUNCATE';
COMMENT ON TRIGGER provconn_guard ON provconn.import IS 'forbids UPDATE and DELETE';
COMMENT ON TRIGGER provconn_no_truncate ON provconn.import IS 'forbids TRUNCATE';
COMMENT ON TRIGGER provconn_guard ON provconn.seal_key IS 'forbids UPDATE and DELETE';
COMMENT ON TRIGGER provconn_no_truncate ON provconn.seal_key IS 'forbids TRUNCATE';

-- Tables

COMMENT ON TABLE provconn.provider IS 'the registry of providers; rows are never deleted';
COMMENT ON COLUMN provconn.provider.provider_id IS 'id of the provider';
COMMENT ON COLUMN provconn.provider.slug IS 'its short name: lowercase letters, digits, - and _, 1 to 50';
COMMENT ON COLUMN provconn.provider.name IS 'its name for people, 1 to 100 characters';
COMMENT ON COLUMN provconn.provider.credential_type IS 'kind of credentials it usually gives';
COMMENT ON COLUMN provconn.provider.category IS 'free text, or null';
COMMENT ON COLUMN provconn.provider.is_active IS 'whether it is open for new connections';
COMMENT ON COLUMN provconn.provider.created_at IS 'when it was registered';
COMMENT ON COLUMN provconn.provider.updated_at IS 'when it was changed last';

COMMENT ON TABLE provconn.data_key IS 'keys that seal credentials, each wrapped by a master key of the key file';
COMMENT ON COLUMN provconn.data_key.key_id IS 'id that sealed credentials name; the highest one not retired is current';
COMMENT ON COLUMN provconn.data_key.master_key_id IS 'id of the master key that wrapped it';
COMMENT ON COLUMN provconn.data_key.master_check IS 'tells that master key from others; 8 bytes';
COMMENT ON COLUMN provconn.data_key.wrapped IS 'the key, sealed';
COMMENT ON COLUMN provconn.data_key.check_value IS 'tells this key from others; 8 bytes';
COMMENT ON COLUMN provconn.data_key.created_at IS 'when it was made';
COMMENT ON COLUMN provconn.data_key.retired_at IS 'since when nothing new is sealed with it; null: not retired';

COMMENT ON TABLE provconn.connection IS 'connections of users to providers; rows are never deleted';
COMMENT ON FUNCTION @extschema@.provconn_seal_audit()
    IS 'seals what was committed to the audit since the last seal; returns the digest of the newest seal';
COMMENT ON FUNCTION @extschema@.provconn_verify_audit(jsonb, timestamptz, timestamptz)
    IS 'checks the audit against its hashes, seals and the digest of one: a row for each problem';
COMMENT ON FUNCTION @extschema@.provconn_audit_proof(uuid)
    IS 'proof that a row is in a sealed audit, for who has the digest of the seal';
COMMENT ON FUNCTION @extschema@.provconn_audit_report(uuid)
    IS 'what the audit has of a user, as a page of HTML';
COMMENT ON FUNCTION @extschema@.provconn_events(text, integer)
    IS 'events of the audit after a position, each once, in an order that stays';
COMMENT ON FUNCTION @extschema@.provconn_attempts_lost()
    IS 'how many attempts that were rolled back went to the server log alone, since it started';
COMMENT ON FUNCTION @extschema@.provconn_archive_audit(date)
    IS 'detaches the month of that day from the audit; returns its table';
COMMENT ON FUNCTION @extschema@.provconn_attach_audit(regclass)
    IS 'attaches a month that was detached';
COMMENT ON FUNCTION provconn.origin() IS 'number of this database in rows of the audit';
COMMENT ON FUNCTION provconn.entry_hash(bytea, uuid, timestamptz, uuid, bigint, uuid, text, text, text, @extschema@.provconn_status, @extschema@.provconn_status, text, integer, text, text, integer, xid8, xid8, bytea)
    IS 'entry_hash that a row of the audit must have';
COMMENT ON FUNCTION provconn.personal_hash(bytea, uuid, uuid, text, text, inet)
    IS 'personal_hash that a row of the audit must have';
COMMENT ON FUNCTION provconn.entry_json(provconn.audit) IS 'a row of the audit as its proof shows it';
COMMENT ON FUNCTION provconn.seal_json(provconn.seal) IS 'a seal as a proof shows it';
COMMENT ON FUNCTION provconn.seal_leaves(bytea) IS 'the rows that a seal is over';
COMMENT ON FUNCTION provconn.seal_root(bytea, bytea) IS 'Merkle root of the leaves and heads of a seal (RFC 6962, section 2.1)';
COMMENT ON FUNCTION provconn.seal_hash(bytea, bigint, timestamptz, integer, integer, integer, uuid, uuid, pg_snapshot, bytea)
    IS 'seal_hash that a seal must have';
COMMENT ON FUNCTION provconn.seal_is_authentic(integer, bytea, bytea) IS 'whether the key of seals made that mark';
COMMENT ON FUNCTION provconn.utc(timestamptz) IS 'a time as text, in UTC';
COMMENT ON FUNCTION provconn.hex(bytea) IS 'bytes in hexadecimal';
COMMENT ON FUNCTION provconn.is_archived(uuid) IS 'whether an audit row of that id is in a detached month';
COMMENT ON FUNCTION provconn.verify_rows(uuid, uuid) IS 'provconn_verify_audit: rows, commitments, leaves';
COMMENT ON FUNCTION provconn.verify_erasures(uuid, uuid) IS 'provconn_verify_audit: personal values that are gone';
COMMENT ON FUNCTION provconn.verify_chains(uuid, uuid) IS 'provconn_verify_audit: chains';
COMMENT ON FUNCTION provconn.verify_rows_of(uuid, uuid, integer, uuid) IS 'verify_rows of one shard, and of a user in others';
COMMENT ON FUNCTION provconn.verify_erasures_of(uuid, uuid, integer) IS 'verify_erasures of one shard';
COMMENT ON FUNCTION provconn.verify_chains_of(uuid, uuid, integer) IS 'verify_chains of one shard';
COMMENT ON FUNCTION provconn.digest_json(provconn.seal) IS 'the digest of a seal';
COMMENT ON FUNCTION provconn.shard_of(uuid) IS 'provconn_shard_of, for functions of this schema';
COMMENT ON FUNCTION provconn.user_rows(uuid, integer) IS 'provconn_audit_report: audit rows of a user';
COMMENT ON FUNCTION provconn.report_time(timestamptz) IS 'provconn_audit_report: a time, in UTC';
COMMENT ON FUNCTION provconn.report_counts(uuid, integer) IS 'provconn_audit_report: what there is';
COMMENT ON FUNCTION provconn.report_connections(uuid, integer) IS 'provconn_audit_report: connections';
COMMENT ON FUNCTION provconn.report_rows(uuid, integer, text, uuid, integer) IS 'provconn_audit_report: rows of tables';
COMMENT ON FUNCTION provconn.report_events(uuid, integer, uuid) IS 'provconn_audit_report: events of a picture';
COMMENT ON FUNCTION provconn.report_problems(uuid, integer) IS 'provconn_audit_report: verification';
COMMENT ON FUNCTION provconn.report_notices() IS 'provconn_audit_report: imports and archives';
COMMENT ON FUNCTION provconn.verify_seals(boolean) IS 'provconn_verify_audit: seals';
COMMENT ON FUNCTION provconn.verify_digest(jsonb) IS 'provconn_verify_audit: the digest from outside';
COMMENT ON FUNCTION provconn.verify_triggers() IS 'provconn_verify_audit: triggers';
COMMENT ON FUNCTION provconn.events_after(bigint, integer, bigint, integer)
    IS 'provconn_events: what the seals have after a leaf';
COMMENT ON FUNCTION provconn.archive_hash() IS 'SHA-256 of the months in provconn.archive';
COMMENT ON FUNCTION provconn.verify_archives() IS 'provconn_verify_audit: months that were put away';
COMMENT ON FUNCTION provconn.verify_imports() IS 'provconn_verify_audit: notices';
COMMENT ON FUNCTION provconn.guard_seal() IS 'seals, and what is known of imports, are neither changed nor deleted';
COMMENT ON FUNCTION provconn.guard_import() IS 'rows of the audit and seals come from provconn, or from a restore, which leaves a trace';
COMMENT ON OPERATOR CLASS provconn.xid8_minmax_ops USING brin IS 'minmax of transaction ids';
COMMENT ON OPERATOR FAMILY provconn.xid8_minmax_ops USING brin IS 'minmax of transaction ids';
COMMENT ON VIEW provconn.wrong_trigger IS 'triggers that are not as the installation made them';
COMMENT ON COLUMN provconn.wrong_trigger.oid IS 'table that has it, or should';
COMMENT ON COLUMN provconn.wrong_trigger.place IS '1: a table, 2: a month of the audit';
COMMENT ON COLUMN provconn.wrong_trigger.name IS 'name of the trigger';
COMMENT ON COLUMN provconn.wrong_trigger.definition IS 'statement that makes it';
COMMENT ON COLUMN provconn.wrong_trigger.problem IS 'missing, altered, or not ENABLE ALWAYS';
COMMENT ON TABLE provconn.seal IS 'seals of the audit: roots of Merkle trees, each with the hash of the seal before';
COMMENT ON COLUMN provconn.seal.seal_id IS 'number of the seal, without gaps';
COMMENT ON COLUMN provconn.seal.sealed_at IS 'when it was made';
COMMENT ON COLUMN provconn.seal.origin IS 'number of the database that made it';
COMMENT ON COLUMN provconn.seal.key_id IS 'key in provconn.seal_key that authenticates it';
COMMENT ON COLUMN provconn.seal.row_count IS 'how many rows it is over';
COMMENT ON COLUMN provconn.seal.head_count IS 'how many heads of chains';
COMMENT ON COLUMN provconn.seal.first_id IS 'least audit_id in it; zeros: none';
COMMENT ON COLUMN provconn.seal.last_id IS 'greatest audit_id in it; zeros: none';
COMMENT ON COLUMN provconn.seal.settled IS 'snapshot: what it shows is sealed by now';
COMMENT ON COLUMN provconn.seal.root IS 'Merkle root of leaves and heads (RFC 6962)';
COMMENT ON COLUMN provconn.seal.previous_hash IS 'seal_hash of the seal before; null: the first one';
COMMENT ON COLUMN provconn.seal.seal_hash IS 'SHA-256 of the seal; see doc/audit.md';
COMMENT ON COLUMN provconn.seal.mac IS 'HMAC-SHA-256 of seal_hash';
COMMENT ON COLUMN provconn.seal.leaves IS 'for each row 48 bytes: audit_id and entry_hash; empty once it is archived';
COMMENT ON COLUMN provconn.seal.heads IS 'for each head 28 bytes: connection_id, seq, place of its row in leaves';
COMMENT ON TABLE provconn.seal_key IS 'keys that authenticate seals, wrapped by a master key';
COMMENT ON COLUMN provconn.seal_key.key_id IS 'number of the key';
COMMENT ON COLUMN provconn.seal_key.master_key_id IS 'master key that wraps it';
COMMENT ON COLUMN provconn.seal_key.master_check IS 'check value of that master key';
COMMENT ON COLUMN provconn.seal_key.wrapped IS 'the key, sealed by the master key';
COMMENT ON COLUMN provconn.seal_key.check_value IS 'check value of the key';
COMMENT ON COLUMN provconn.seal_key.created_at IS 'when it was made';
COMMENT ON COLUMN provconn.seal_key.retired_at IS 'not used: keys of seals are kept';
COMMENT ON TABLE provconn.import IS 'what came in past the triggers, by a restore or logical replication';
COMMENT ON COLUMN provconn.import.import_id IS 'id of the import, a UUIDv7';
COMMENT ON COLUMN provconn.import.imported_at IS 'when it began';
COMMENT ON COLUMN provconn.import.kind IS 'restored or replicated';
COMMENT ON COLUMN provconn.import.table_name IS 'table that rows came into';
COMMENT ON COLUMN provconn.import.origin IS 'number of the database that this happened in';
COMMENT ON COLUMN provconn.import.transaction_id IS 'transaction that brought them';
COMMENT ON COLUMN provconn.import.session_role IS 'session_user at that time';
COMMENT ON TABLE provconn.archive IS 'months of the audit that were detached by provconn_archive_audit';
COMMENT ON COLUMN provconn.archive.table_name IS 'table in the schema provconn that has the month';
COMMENT ON COLUMN provconn.archive.from_id IS 'least audit_id of the month';
COMMENT ON COLUMN provconn.archive.to_id IS 'least audit_id of the month after it';
COMMENT ON COLUMN provconn.archive.row_count IS 'how many rows it has';
COMMENT ON COLUMN provconn.archive.detached_at IS 'when it was detached';
COMMENT ON COLUMN provconn.archive.session_role IS 'session_user at that time';
COMMENT ON COLUMN provconn.connection.shard_key IS 'shard of the user; first in every key';
COMMENT ON COLUMN provconn.connection.connection_id IS 'UUIDv7 that carries the shard';
COMMENT ON COLUMN provconn.connection.user_id IS 'owner';
COMMENT ON COLUMN provconn.connection.provider_id IS 'provider';
COMMENT ON COLUMN provconn.connection.status IS 'state';
COMMENT ON COLUMN provconn.connection.version IS 'number of credential writes; 0 while pending';
COMMENT ON COLUMN provconn.connection.credential_type IS 'kind of the credential; null where there is none';
COMMENT ON COLUMN provconn.connection.failure_count IS 'refreshes that failed since the last success';
COMMENT ON COLUMN provconn.connection.expires_at IS 'when the credential expires; null: never, or there is none';
COMMENT ON COLUMN provconn.connection.connected_at IS 'when the connection first became active';
COMMENT ON COLUMN provconn.connection.last_sync_at IS 'when it was last used to fetch data';
COMMENT ON COLUMN provconn.connection.created_at IS 'when the row was made';
COMMENT ON COLUMN provconn.connection.updated_at IS 'when the row was changed last';
COMMENT ON COLUMN provconn.connection.failing_since IS 'when the first of those refreshes failed';
COMMENT ON COLUMN provconn.connection.held_until IS 'place in the queue (kept by a trigger): free (-infinity), held until then, never refreshed (infinity)';
COMMENT ON COLUMN provconn.connection.due_at IS 'place in the queue (kept by a trigger): expires_at or earlier; if given up, when failing began';
COMMENT ON COLUMN provconn.connection.next_attempt_at IS 'not to be refreshed before; null: any time';
COMMENT ON COLUMN provconn.connection.leased_until IS 'end of the lease';
COMMENT ON COLUMN provconn.connection.lease IS 'id of the lease of the worker that refreshes it; null: none';
COMMENT ON COLUMN provconn.connection.audit_id IS 'audit row of the last change';
COMMENT ON COLUMN provconn.connection.audit_at IS 'time of that audit row';
COMMENT ON COLUMN provconn.connection.audit_hash IS 'entry_hash of that audit row, the head of the chain';
COMMENT ON COLUMN provconn.connection.audit_seq IS 'number of that audit row: changes of this connection so far';
COMMENT ON COLUMN provconn.connection.alias IS 'name the user gave it, or null';
COMMENT ON COLUMN provconn.connection.leased_by IS 'worker that holds the lease';
COMMENT ON COLUMN provconn.connection.last_failure IS 'why the last refresh failed';
COMMENT ON COLUMN provconn.connection.metadata IS 'JSON object of the application, or null';
COMMENT ON COLUMN provconn.connection.credential IS 'the sealed credential; null where there is none';

COMMENT ON TABLE provconn.idempotency IS 'accepted connects by idempotency key, kept for provconn.idempotency_retention';
COMMENT ON COLUMN provconn.idempotency.shard_key IS 'shard of the user';
COMMENT ON COLUMN provconn.idempotency.user_id IS 'user of the connect';
COMMENT ON COLUMN provconn.idempotency.idempotency_key IS 'key that the caller gave';
COMMENT ON COLUMN provconn.idempotency.provider_id IS 'provider of the connect';
COMMENT ON COLUMN provconn.idempotency.connection_id IS 'connection that it made active';
COMMENT ON COLUMN provconn.idempotency.version IS 'version that it returned';
COMMENT ON COLUMN provconn.idempotency.created_at IS 'when it was accepted';
COMMENT ON COLUMN provconn.idempotency.alias IS 'alias of the connect, or null';

COMMENT ON TABLE provconn.audit IS 'one row for each command, accepted or refused; append-only; partitioned by month';
COMMENT ON COLUMN provconn.audit.shard_key IS 'shard that audit_id carries';
COMMENT ON COLUMN provconn.audit.audit_id IS 'UUIDv7 of the row; its time decides the partition';
COMMENT ON COLUMN provconn.audit.occurred_at IS 'when the command was called';
COMMENT ON COLUMN provconn.audit.connection_id IS 'connection concerned, as the command named it';
COMMENT ON COLUMN provconn.audit.seq IS 'number of the change of that connection, gapless; null where nothing changed';
COMMENT ON COLUMN provconn.audit.provider_id IS 'provider concerned';
COMMENT ON COLUMN provconn.audit.provider_slug IS 'its slug at the time, or what the refused command gave for it';
COMMENT ON COLUMN provconn.audit.action IS 'function called, without its prefix; direct: SQL past the functions';
COMMENT ON COLUMN provconn.audit.outcome IS 'succeeded or refused';
COMMENT ON COLUMN provconn.audit.old_status IS 'state before; null: there was no connection';
COMMENT ON COLUMN provconn.audit.new_status IS 'state after';
COMMENT ON COLUMN provconn.audit.error_code IS 'why the command was refused';
COMMENT ON COLUMN provconn.audit.version IS 'version of the connection after the command';
COMMENT ON COLUMN provconn.audit.session_role IS 'role that logged in';
COMMENT ON COLUMN provconn.audit.caller_role IS 'current role at the call';
COMMENT ON COLUMN provconn.audit.transaction_id IS 'transaction that wrote the row';
COMMENT ON COLUMN provconn.audit.user_id IS 'user that the command named, else the owner (personal)';
COMMENT ON COLUMN provconn.audit.owner_id IS 'owner, where that is another user (personal)';
COMMENT ON COLUMN provconn.audit.reason IS 'reason or purpose that the caller gave (personal)';
COMMENT ON COLUMN provconn.audit.application_name IS 'application_name of the session (personal)';
COMMENT ON COLUMN provconn.audit.client_address IS 'address of the client; null: a Unix socket (personal)';
COMMENT ON COLUMN provconn.audit.personal_salt IS 'salt of personal_hash; 16 random bytes';
COMMENT ON COLUMN provconn.audit.personal_hash IS 'SHA-256 of the salt and the personal columns';
COMMENT ON COLUMN provconn.audit.previous_hash IS 'entry_hash of the row before in the chain of the connection; null: none';
COMMENT ON COLUMN provconn.audit.entry_hash IS 'SHA-256 of previous_hash and the row; see doc/audit.md';
COMMENT ON COLUMN provconn.audit.origin IS 'number of the database that wrote the row; another one after a restore';
COMMENT ON COLUMN provconn.audit.attempt_id IS 'transaction that was rolled back, of a row with that outcome';

COMMENT ON TABLE provconn.capability IS 'functions and views that a capability consists of';
COMMENT ON COLUMN provconn.capability.capability IS 'name of the capability; *: every one';
COMMENT ON COLUMN provconn.capability.object_name IS 'name of the function or view';
COMMENT ON COLUMN provconn.capability.is_function IS 'whether it is a function';

COMMENT ON TABLE provconn.role_grant IS 'capabilities that roles were given by provconn_grant';
COMMENT ON COLUMN provconn.role_grant.role IS 'role';
COMMENT ON COLUMN provconn.role_grant.capability IS 'capability it has';
COMMENT ON COLUMN provconn.role_grant.granted_by IS 'role that gave it';
COMMENT ON COLUMN provconn.role_grant.granted_at IS 'when it was given';

-- Views

COMMENT ON VIEW @extschema@.provconn_providers IS 'providers';
COMMENT ON COLUMN @extschema@.provconn_providers.provider_id IS 'id of the provider';
COMMENT ON COLUMN @extschema@.provconn_providers.slug IS 'its short name';
COMMENT ON COLUMN @extschema@.provconn_providers.name IS 'its name for people';
COMMENT ON COLUMN @extschema@.provconn_providers.credential_type IS 'kind of credentials it usually gives';
COMMENT ON COLUMN @extschema@.provconn_providers.category IS 'free text, or null';
COMMENT ON COLUMN @extschema@.provconn_providers.is_active IS 'whether it is open for new connections';
COMMENT ON COLUMN @extschema@.provconn_providers.created_at IS 'when it was registered';
COMMENT ON COLUMN @extschema@.provconn_providers.updated_at IS 'when it was changed last';

COMMENT ON VIEW @extschema@.provconn_connections IS 'connections, without their secrets';
COMMENT ON COLUMN @extschema@.provconn_connections.connection_id IS 'id of the connection, a UUIDv7';
COMMENT ON COLUMN @extschema@.provconn_connections.user_id IS 'owner';
COMMENT ON COLUMN @extschema@.provconn_connections.provider_id IS 'provider';
COMMENT ON COLUMN @extschema@.provconn_connections.provider_slug IS 'slug of the provider';
COMMENT ON COLUMN @extschema@.provconn_connections.alias IS 'name the user gave it, or null';
COMMENT ON COLUMN @extschema@.provconn_connections.status IS 'state';
COMMENT ON COLUMN @extschema@.provconn_connections.credential_type IS 'kind of the credential; null where there is none';
COMMENT ON COLUMN @extschema@.provconn_connections.expires_at IS 'when the credential expires; null: never, or there is none';
COMMENT ON COLUMN @extschema@.provconn_connections.version IS 'number of credential writes; 0 while pending';
COMMENT ON COLUMN @extschema@.provconn_connections.connected_at IS 'when the connection first became active';
COMMENT ON COLUMN @extschema@.provconn_connections.last_sync_at IS 'when it was last used to fetch data';
COMMENT ON COLUMN @extschema@.provconn_connections.created_at IS 'when it was made';
COMMENT ON COLUMN @extschema@.provconn_connections.updated_at IS 'when it was changed last';
COMMENT ON COLUMN @extschema@.provconn_connections.metadata IS 'JSON object of the application, or null';
COMMENT ON COLUMN @extschema@.provconn_connections.failure_count IS 'refreshes that failed since the last success';
COMMENT ON COLUMN @extschema@.provconn_connections.last_failure IS 'why the last refresh failed';
COMMENT ON COLUMN @extschema@.provconn_connections.next_attempt_at IS 'not to be refreshed before; null: any time';
COMMENT ON COLUMN @extschema@.provconn_connections.leased_by IS 'worker that holds the lease';
COMMENT ON COLUMN @extschema@.provconn_connections.leased_until IS 'end of the lease';
COMMENT ON COLUMN @extschema@.provconn_connections.is_connected IS 'active, and has credentials';
COMMENT ON COLUMN @extschema@.provconn_connections.needs_reauthentication IS 'expired, revoked or failed';
COMMENT ON COLUMN @extschema@.provconn_connections.is_credentials_expired IS 'now is at or past expires_at';
COMMENT ON COLUMN @extschema@.provconn_connections.is_expiring_soon IS 'now is at or past 5 minutes before expires_at';
COMMENT ON COLUMN @extschema@.provconn_connections.can_sync IS 'connected, and the credentials are not expired';
COMMENT ON COLUMN @extschema@.provconn_connections.time_until_expiry IS 'time left until expires_at, never negative; null: never expires';
COMMENT ON COLUMN @extschema@.provconn_connections.supports_refresh IS 'credentials are oauth2 or link_token';

COMMENT ON VIEW @extschema@.provconn_audit_log IS 'the audit: one row for each command, accepted or refused';
COMMENT ON COLUMN @extschema@.provconn_audit_log.audit_id IS 'id of the row, a UUIDv7';
COMMENT ON COLUMN @extschema@.provconn_audit_log.occurred_at IS 'when the command was called';
COMMENT ON COLUMN @extschema@.provconn_audit_log.connection_id IS 'connection concerned, as the command named it';
COMMENT ON COLUMN @extschema@.provconn_audit_log.user_id IS 'user that the command named, else the owner';
COMMENT ON COLUMN @extschema@.provconn_audit_log.provider_id IS 'provider concerned';
COMMENT ON COLUMN @extschema@.provconn_audit_log.provider_slug IS 'its slug at the time, or what the refused command gave for it';
COMMENT ON COLUMN @extschema@.provconn_audit_log.action IS 'function called, without its prefix; direct: SQL past the functions';
COMMENT ON COLUMN @extschema@.provconn_audit_log.outcome IS 'succeeded or refused';
COMMENT ON COLUMN @extschema@.provconn_audit_log.event IS 'name of the domain event';
COMMENT ON COLUMN @extschema@.provconn_audit_log.old_status IS 'state before; null: there was no connection';
COMMENT ON COLUMN @extschema@.provconn_audit_log.new_status IS 'state after';
COMMENT ON COLUMN @extschema@.provconn_audit_log.error_code IS 'why the command was refused';
COMMENT ON COLUMN @extschema@.provconn_audit_log.reason IS 'reason or purpose that the caller gave';
COMMENT ON COLUMN @extschema@.provconn_audit_log.version IS 'version of the connection after the command';
COMMENT ON COLUMN @extschema@.provconn_audit_log.owner_id IS 'owner, where that is another user than user_id';
COMMENT ON COLUMN @extschema@.provconn_audit_log.session_role IS 'role that logged in';
COMMENT ON COLUMN @extschema@.provconn_audit_log.caller_role IS 'current role at the call';
COMMENT ON COLUMN @extschema@.provconn_audit_log.application_name IS 'application_name of the session';
COMMENT ON COLUMN @extschema@.provconn_audit_log.client_address IS 'address of the client; null: a Unix socket';
COMMENT ON COLUMN @extschema@.provconn_audit_log.transaction_id IS 'transaction that wrote the row';
COMMENT ON COLUMN @extschema@.provconn_audit_log.seq IS 'number of the change of that connection, gapless; null where nothing changed';

COMMENT ON VIEW @extschema@.provconn_transitions IS 'the state machine: which command leads from which state to which';
COMMENT ON COLUMN @extschema@.provconn_transitions.from_status IS 'state before; null: no connection yet';
COMMENT ON COLUMN @extschema@.provconn_transitions.command IS 'command, without its prefix';
COMMENT ON COLUMN @extschema@.provconn_transitions.to_status IS 'state after';

COMMENT ON VIEW @extschema@.provconn_stats IS 'connections by provider and status, and how the refresh queue does';
COMMENT ON COLUMN @extschema@.provconn_stats.provider_id IS 'provider';
COMMENT ON COLUMN @extschema@.provconn_stats.provider_slug IS 'slug of the provider';
COMMENT ON COLUMN @extschema@.provconn_stats.status IS 'state; what follows concerns active connections, given_up expired ones';
COMMENT ON COLUMN @extschema@.provconn_stats.connections IS 'connections of that provider in that state';
COMMENT ON COLUMN @extschema@.provconn_stats.due IS 'what provconn_claim_due with its defaults would find now';
COMMENT ON COLUMN @extschema@.provconn_stats.overdue IS 'whose credentials have expired';
COMMENT ON COLUMN @extschema@.provconn_stats.leased IS 'in the hands of workers';
COMMENT ON COLUMN @extschema@.provconn_stats.leases_expired IS 'whose worker did not report in time';
COMMENT ON COLUMN @extschema@.provconn_stats.failing IS 'whose last refresh failed';
COMMENT ON COLUMN @extschema@.provconn_stats.given_up IS 'expired while their refreshes failed: for good, too often, or overdue';
COMMENT ON COLUMN @extschema@.provconn_stats.oldest_due IS 'earliest expiry among those due';
COMMENT ON COLUMN @extschema@.provconn_stats.breaker IS 'circuit breaker of the provider: closed, open or half_open';
COMMENT ON COLUMN @extschema@.provconn_stats.breaker_opened_at IS 'since when it is not closed';
COMMENT ON COLUMN @extschema@.provconn_stats.attempts_lost IS 'attempts that were rolled back and are in the server log alone, in this database since the server started';
COMMENT ON TABLE provconn.provider_health IS 'circuit breakers of the providers, of this server alone';
COMMENT ON COLUMN provconn.provider_health.provider_id IS 'provider';
COMMENT ON COLUMN provconn.provider_health.failures IS 'failures in a row that count against the provider';
COMMENT ON COLUMN provconn.provider_health.allowance IS 'connections to claim per step; 1: open, null: closed, without limit';
COMMENT ON COLUMN provconn.provider_health.taken IS 'how much of the allowance of this step is used up';
COMMENT ON COLUMN provconn.provider_health.opened_at IS 'since when it is not closed';
COMMENT ON COLUMN provconn.provider_health.next_claim_at IS 'open: no probe before; half open: end of the step';
COMMENT ON FUNCTION provconn.open_provider() IS 'trigger: gives a new provider its circuit breaker';
COMMENT ON TRIGGER provconn_open ON provconn.provider IS 'gives a new provider its circuit breaker';

COMMENT ON TABLE provconn.progress IS 'how far provconn_reencrypt is, on this server alone';
COMMENT ON COLUMN provconn.progress.task IS 'what is done: reencrypt';
COMMENT ON COLUMN provconn.progress.key_id IS 'data key that everything is sealed with';
COMMENT ON COLUMN provconn.progress.connection_id IS 'last connection that was looked at; zeros: none yet';
COMMENT ON COLUMN provconn.progress.done IS 'credentials sealed anew so far';
COMMENT ON COLUMN provconn.progress.total IS 'credentials that were to be sealed anew when it began';
COMMENT ON COLUMN provconn.progress.started_at IS 'when it began';
COMMENT ON COLUMN provconn.progress.updated_at IS 'when the last batch was done';
COMMENT ON COLUMN provconn.progress.finished_at IS 'when it was finished; null: running, or interrupted';
COMMENT ON VIEW @extschema@.provconn_progress IS 'how far provconn_reencrypt is';
COMMENT ON COLUMN @extschema@.provconn_progress.task IS 'what is done: reencrypt';
COMMENT ON COLUMN @extschema@.provconn_progress.key_id IS 'data key that everything is sealed with';
COMMENT ON COLUMN @extschema@.provconn_progress.done IS 'credentials sealed anew so far';
COMMENT ON COLUMN @extschema@.provconn_progress.total IS 'credentials that were to be sealed anew when it began';
COMMENT ON COLUMN @extschema@.provconn_progress.started_at IS 'when it began';
COMMENT ON COLUMN @extschema@.provconn_progress.updated_at IS 'when the last batch was done';
COMMENT ON COLUMN @extschema@.provconn_progress.finished_at IS 'when it was finished; null: running, or interrupted';
COMMENT ON VIEW @extschema@.provconn_keys IS 'data keys, and how many credentials each has sealed';
COMMENT ON COLUMN @extschema@.provconn_keys.key_id IS 'id that sealed credentials name';
COMMENT ON COLUMN @extschema@.provconn_keys.state IS 'current: seals and opens; old: opens; retired: destroyed';
COMMENT ON COLUMN @extschema@.provconn_keys.master_key_id IS 'master key that wraps it';
COMMENT ON COLUMN @extschema@.provconn_keys.created_at IS 'when it was made';
COMMENT ON COLUMN @extschema@.provconn_keys.retired_at IS 'when it was retired';
COMMENT ON COLUMN @extschema@.provconn_keys.connections IS 'connections whose credential it has sealed';
COMMENT ON TABLE provconn.required_trigger IS 'triggers of the tables, as the installation made them';
COMMENT ON COLUMN provconn.required_trigger.table_name IS 'table; audit stands for its months too';
COMMENT ON COLUMN provconn.required_trigger.trigger_name IS 'trigger';
COMMENT ON COLUMN provconn.required_trigger.definition IS 'the statement that makes it';
COMMENT ON VIEW provconn.finding IS 'checks of provconn_doctor that SQL can make';
COMMENT ON COLUMN provconn.finding.check_name IS 'name of the check';
COMMENT ON COLUMN provconn.finding.status IS 'ok, warning or critical';
COMMENT ON COLUMN provconn.finding.detail IS 'what was found';
COMMENT ON COLUMN provconn.finding.fix IS 'SQL that mends it; null where all is well';
