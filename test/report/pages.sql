-- What the pages of test/report/run are about: users 1 to 4, by the ends of their ids.
SET client_min_messages = warning;
CREATE EXTENSION provconn CASCADE;
CREATE FUNCTION user_of(n int) RETURNS uuid LANGUAGE sql AS $$ SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid $$;
SELECT provconn_register_provider('bank', 'Bank <b>&"''', 'custom') AS bank \gset
SELECT provconn_register_provider('other', '<iframe src="http://attacker.example/"></iframe>', 'custom') AS other \gset
\o /dev/null

-- 1: names and reasons that mean harm
CREATE TEMP TABLE harm (name text);
INSERT INTO harm VALUES ('<script>parent.hit = 1</script>'), ('"><img src=x onerror="parent.hit = 2">'), ('<img src="http://attacker.example/a.png">'), (']]>'), ('&amp;'),
	('</style><style>body{display:none}'), ('--><!--'), (E'\u202Eevil\x07'), (E'r\u00E9sum\u00E9');
SET application_name = '<script src="http://attacker.example/a.js"></script>';
SELECT provconn_connect(provconn_connect_command(user_of(1), :'bank', 'bank', provconn_credentials('s', 'custom'), name)) FROM harm;
SELECT provconn_reveal(user_of(1), c.connection_id, name || repeat('w', 200)) FROM harm, provconn_connections AS c WHERE c.user_id = user_of(1) AND c.alias LIKE '<script>%';
SELECT provconn_reveal(user_of(9), c.connection_id, name) FROM harm, provconn_connections AS c WHERE c.user_id = user_of(1) AND c.alias = ']]>';
SELECT provconn_mark_expired(connection_id, 'javascript:parent.hit = 3') FROM provconn_connections WHERE user_id = user_of(1) AND alias LIKE '--%';
SELECT provconn_initiate(user_of(1), gen_random_uuid(), left(name, 50)) FROM harm;
UPDATE provconn.connection SET alias = alias WHERE user_id = user_of(1) AND alias = '&amp;';
RESET application_name;

-- 2: many events
SELECT provconn_connect(provconn_connect_command(user_of(2), :'other', 'other', provconn_credentials('s', 'custom'), 'many ' || i)) FROM generate_series(1, 3) AS i;
CREATE PROCEDURE live() LANGUAGE plpgsql AS $$
DECLARE
	c record;
BEGIN
	FOR i IN 1..1200 LOOP
		FOR c IN SELECT connection_id AS id, status FROM provconn_connections WHERE user_id = user_of(2) LOOP
			CASE i % 40
				WHEN 3 THEN PERFORM provconn_mark_expired(c.id); PERFORM provconn_reauthenticate(user_of(2), c.id, provconn_credentials('s', 'custom'));
				WHEN 7, 11, 13 THEN PERFORM provconn_reveal(user_of(2), c.id, 'a report');
				WHEN 17 THEN PERFORM provconn_refresh(provconn_refresh_command(c.id, NULL));
				WHEN 19 THEN PERFORM provconn_disconnect(provconn_disconnect_command(user_of(9), c.id));
				ELSE PERFORM provconn_refresh(provconn_refresh_command(c.id, provconn_credentials('s', 'custom')));
			END CASE;
		END LOOP;
		-- The time that they take is what the picture shows, however fast the commands are.
		PERFORM pg_sleep(0.002);
		IF i % 100 = 0 THEN
			COMMIT;
		END IF;
	END LOOP;
END $$;
CALL live();

-- 3: erased
SELECT provconn_connect(provconn_connect_command(user_of(3), :'bank', 'bank', provconn_credentials('s', 'custom'), 'leaves no trace ' || i)) FROM generate_series(1, 2) AS i;
SELECT provconn_reveal(user_of(3), connection_id, 'leaves no trace') FROM provconn_connections WHERE user_id = user_of(3);
SELECT provconn_erase_user(user_of(3));

SELECT provconn_seal_audit();
