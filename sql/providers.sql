-- The registry of providers.
\set SHOW_CONTEXT never

-- an id of its own, or the one given
SELECT provconn_register_provider('providers-own', 'Own', 'oauth2') AS id \gset
SELECT substr(:'id', 15, 1) AS version, provider_id = :'id' AS id, slug, name, credential_type, category, is_active,
       created_at = updated_at AS times, created_at BETWEEN now() - interval '1 minute' AND clock_timestamp() AS recent
FROM provconn_providers WHERE slug = 'providers-own';
SELECT provconn_register_provider(slug => 'providers-given', name => 'Given', credential_type => 'custom', category => 'bank',
	provider_id => t.p('providers given')) = t.p('providers given') AS given;
SELECT slug, name, credential_type, category FROM provconn_providers WHERE provider_id = t.p('providers given');
SELECT column_name FROM information_schema.columns WHERE table_name = 'provconn_providers' ORDER BY ordinal_position;

-- each has a circuit breaker, closed, however it came here
SET session_replication_role = replica;
INSERT INTO provconn.provider (provider_id, slug, name, credential_type, is_active, created_at, updated_at)
VALUES (t.p('providers direct'), 'providers-direct', 'Direct', 'oauth2', true, now(), now());
RESET session_replication_role;
SELECT p.slug, h.failures, h.allowance, h.taken, h.opened_at, h.next_claim_at FROM provconn.provider AS p LEFT JOIN provconn.provider_health AS h USING (provider_id)
WHERE p.slug LIKE 'providers-%' ORDER BY p.slug COLLATE "C";
SELECT count(*) AS without FROM provconn.provider WHERE provider_id NOT IN (SELECT provider_id FROM provconn.provider_health);

-- the slug: lowercase letters, digits, - and _, 1 to 50
SELECT n, t.message(format('SELECT provconn_register_provider(%L, ''Name'', ''custom'')', slug)) AS result
FROM (VALUES (1, NULL), (2, ''), (3, repeat('p', 50)), (4, repeat('q', 51)), (5, 'Upper'), (6, 'a b'), (7, 'a.b'), (8, 'a/b'), (9, chr(233)),
             (10, 'a-b_9'), (11, '9'), (12, '-'), (13, '_'), (14, E'a\n'), (15, 'a '), (16, ' a'), (17, 'a%'), (18, '%n%s')) AS v (n, slug) ORDER BY n;
SELECT t.fault($$SELECT provconn_register_provider('Upper', 'Name', 'custom')$$);
-- the name: 1 to 100 characters; a credential type
SELECT n, t.message(format('SELECT provconn_register_provider(%L, %L, ''custom'')', 'providers-name-' || n, name)) AS result
FROM (VALUES (1, NULL), (2, ''), (3, repeat(chr(233), 100)), (4, repeat(chr(233), 101)), (5, 'x'), (6, repeat('n', 101))) AS v (n, name) ORDER BY n;
SELECT t.fault($$SELECT provconn_register_provider('providers-type', 'Name', NULL)$$);
SELECT t.fault($$SELECT provconn_register_provider('providers-type', '', 'custom')$$);
-- slug before name before type
SELECT t.message($$SELECT provconn_register_provider('', '', NULL)$$);
SELECT t.message($$SELECT provconn_register_provider('providers-type', '', NULL)$$);
-- no slug and no id twice
SELECT t.fault($$SELECT provconn_register_provider('providers-own', 'Again', 'custom')$$);
SELECT t.message($$SELECT provconn_register_provider('providers-other', 'Again', 'custom', NULL, t.p('providers given'))$$);
SELECT slug, name FROM provconn_providers WHERE slug LIKE 'providers-o%';

-- open and closed
SELECT provconn_set_provider_active(provider_id => :'id', active => false);
SELECT is_active, updated_at > created_at AS updated FROM provconn_providers WHERE provider_id = :'id';
SELECT (provconn_initiate(t.u('providers'), :'id', 'providers-own')).error_code;
SELECT provconn_set_provider_active(:'id', false);
SELECT provconn_set_provider_active(:'id', true);
SELECT (provconn_initiate(t.u('providers'), :'id', 'providers-own')).ok;
SELECT t.fault('SELECT provconn_set_provider_active(t.p(''unknown''), true)');
SELECT t.fault('SELECT provconn_set_provider_active(NULL, true)');
SELECT t.fault(format('SELECT provconn_set_provider_active(%L, NULL)', :'id'));
-- a closed provider's connections go on
SELECT connection_id AS connection FROM provconn_connect(provconn_connect_command(t.u('providers'), :'id', 'providers-own', provconn_credentials('s', 'custom'))) \gset
SELECT provconn_set_provider_active(:'id', false);
SELECT ok FROM provconn_refresh(provconn_refresh_command(:'connection', provconn_credentials('s', 'custom')));
SELECT ok FROM provconn_reveal(t.u('providers'), :'connection');
SELECT ok FROM provconn_disconnect(provconn_disconnect_command(t.u('providers'), :'connection'));

-- never deleted, nor given another id; the rest a DBA may change
SELECT t.fault($$DELETE FROM provconn.provider WHERE slug = 'providers-given'$$);
SELECT t.message('TRUNCATE provconn.provider') AS truncate,
       t.message($$UPDATE provconn.provider SET provider_id = t.p('new') WHERE slug = 'providers-given'$$) AS new_id,
       t.message($$UPDATE provconn.provider SET name = 'New', category = 'x' WHERE slug = 'providers-given'$$) AS name,
       t.code($$UPDATE provconn.provider SET slug = 'New' WHERE slug = 'providers-given'$$) AS bad_slug,
       t.code($$UPDATE provconn.provider SET slug = 'providers-own' WHERE slug = 'providers-given'$$) AS taken_slug \gx
SET session_replication_role = replica;
SELECT t.message($$DELETE FROM provconn.provider WHERE slug = 'providers-given'$$) AS delete, t.message('TRUNCATE provconn.provider') AS truncate;
RESET session_replication_role;
SELECT slug, name FROM provconn_providers WHERE provider_id = t.p('providers given');
