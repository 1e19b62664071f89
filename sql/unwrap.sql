-- provconn_unwrap: a refusal as an error, for those who want one.
\set SHOW_CONTEXT never

-- what is ok comes through as it is
SELECT t.active(t.u('unwrap')) AS id \gset
SELECT u = r AS same, (u).ok, (u).version FROM provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('s', 'custom'))) AS r, provconn_unwrap(r) AS u;
SELECT version FROM provconn_unwrap(provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('s', 'custom'))));

-- each refusal has its SQLSTATE; the contract's table, written down once more
SELECT code, t.fault(format('SELECT provconn_unwrap(ROW(false, NULL, NULL, NULL, %L, NULL, false)::provconn_result)', code)) AS error,
       t.code(format('SELECT provconn_unwrap(ROW(false, NULL, NULL, NULL, %L, NULL, false)::provconn_result)', code)) = sqlstate AS right
FROM (VALUES ('invalid_user', 'PV001'), ('invalid_credentials', 'PV002'), ('invalid_provider_slug', 'PV003'), ('invalid_alias', 'PV004'),
             ('provider_not_found', 'PV005'), ('provider_inactive', 'PV006'), ('invalid_metadata', 'PV007'), ('connection_not_found', 'PV010'), ('not_owned_by_user', 'PV011'),
             ('not_active', 'PV012'), ('invalid_transition', 'PV013'), ('stale_version', 'PV014'), ('lease_lost', 'PV015'), ('idempotency_conflict', 'PV016'),
             ('reveal_limited', 'PV017')) AS v (code, sqlstate) ORDER BY sqlstate;
-- the messages are those of the results
SELECT r.error_code, t.message(format('SELECT provconn_unwrap(%L::provconn_result)', r)) LIKE 'PV___ ' || r.message AS same
FROM (SELECT provconn_connect(provconn_connect_command()) AS r
      UNION ALL SELECT provconn_connect(provconn_connect_command(t.u('unwrap'), credentials => provconn_credentials('s', 'custom')))
      UNION ALL SELECT provconn_refresh(provconn_refresh_command(t.u('no such connection'), NULL))
      UNION ALL SELECT provconn_refresh(provconn_refresh_command(:'id', NULL))
      UNION ALL SELECT provconn_disconnect(provconn_disconnect_command(t.u('stranger'), :'id'))
      UNION ALL SELECT provconn_set_metadata(t.u('unwrap'), :'id', '[]') UNION ALL SELECT provconn_rename(t.u('unwrap'), :'id', repeat('x', 101))
      UNION ALL SELECT provconn_mark_failed(:'id') UNION ALL SELECT provconn_record_sync(t.in_status(t.u('unwrap'), 'pending')) UNION ALL SELECT provconn_release(:'id', NULL)) AS v (o), LATERAL (SELECT (o).*) AS r ORDER BY r.error_code COLLATE "C";

-- what is no refusal of ours
SELECT t.fault('SELECT provconn_unwrap(NULL)');
SELECT t.fault($$SELECT provconn_unwrap(ROW(false, NULL, NULL, NULL, 'of_a_later_version', 'said so', false)::provconn_result)$$);
SELECT t.message($$SELECT provconn_unwrap(ROW(false, NULL, NULL, NULL, NULL, NULL, false)::provconn_result)$$),
       t.message($$SELECT provconn_unwrap(ROW(NULL, NULL, NULL, NULL, 'not_active', NULL, false)::provconn_result)$$) AS null_ok,
       t.message($$SELECT provconn_unwrap(ROW(true, NULL, NULL, NULL, 'not_active', NULL, false)::provconn_result)$$) AS ok,
       t.message($$SELECT provconn_unwrap(ROW(false, NULL, NULL, NULL, 'not_active', '%s%n %d', false)::provconn_result)$$) AS no_format;

-- the error takes the refusal's audit row along
SELECT count(*) AS before FROM provconn.audit \gset
SELECT provconn_unwrap(provconn_disconnect(provconn_disconnect_command(t.u('stranger'), :'id')));
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) - :before AS rows FROM provconn.audit WHERE outcome <> 'rolled_back';
-- caught, it is as any other error
DO $$
BEGIN
	PERFORM provconn_unwrap(provconn_refresh(provconn_refresh_command(t.u('no such connection'), NULL)));
EXCEPTION WHEN SQLSTATE 'PV010' THEN
	RAISE NOTICE 'caught %: %', sqlstate, sqlerrm;
END $$;
