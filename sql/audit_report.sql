-- The report on a user: what is on the page, and that nothing on it is markup of somebody else's.
\set SHOW_CONTEXT never
CREATE FUNCTION t.tags(page text, tag text) RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM regexp_matches(page, '<' || tag || '[ >/]', 'g') $$;
-- a section's text, without the tags
CREATE FUNCTION t.section(page text, id text) RETURNS text LANGUAGE sql
AS $$ SELECT regexp_replace(regexp_replace(substring(page FROM '<section id="' || id || '">.*?</section>'), '<[^>]*>', ' ', 'g'), '\s+', ' ', 'g') $$;
-- XML, where the server can tell
CREATE FUNCTION t.is_xml(page text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RETURN xml_is_well_formed_document(page);
EXCEPTION WHEN feature_not_supported THEN
	RETURN true;
END $$;

SELECT t.message('SELECT provconn_audit_report(NULL)') AS nobody;
-- somebody unknown has an empty page
SELECT provconn_audit_report(t.u('report nobody')) AS page \gset
SELECT t.is_xml(:'page') AS xml, t.tags(:'page', 'svg') AS svg, t.tags(:'page', 'table') AS tables, :'page' LIKE '<!DOCTYPE html>%</html>' AS whole;
SELECT t.section(:'page', 'connections') AS connections, t.section(:'page', 'reads') ~ 'None' AS reads;

-- Names and reasons that mean harm.
CREATE TEMP TABLE hostile (n serial, harm text);
INSERT INTO hostile (harm) VALUES ('<script>alert(1)</script>'), ('"><img src=x onerror=alert(1)>'), (']]>'), ('&amp;&lt;'), (E'a\x01b\x1b\u0085c'), ('it''s "quoted"'),
	(E'\u202Egnitirw\u202C \u200Bx\uFEFF'), ('--><!--'), ('</title></style></svg>'), (E'r\u00E9sum\u00E9 \u65E5\u672C'), (E'line\nand\ttab'), ('javascript:alert(1)');
SET application_name = '<script>alert("application")</script>';
SELECT count(t.active(t.u('report'), harm)) AS connections FROM hostile;
SELECT connection_id AS id FROM provconn_connections WHERE user_id = t.u('report') AND alias LIKE '<script>%' \gset
SELECT count(*) FILTER (WHERE (provconn_reveal(t.u('report'), :'id', harm)).ok) AS reveals FROM hostile;
SELECT count(*) FILTER (WHERE (provconn_reveal(t.u('report stranger'), :'id', harm)).error_code = 'not_owned_by_user') AS refusals FROM hostile;
SELECT count((provconn_initiate(t.u('report'), t.p('unknown'), left(harm, 50))).error_code) AS initiations FROM hostile;
-- the user at another's
SELECT t.active(t.u('report other'), 'other''s secret name') AS other \gset
SELECT error_code FROM provconn_reveal(t.u('report'), :'other', 'curious');
RESET application_name;
UPDATE provconn.connection SET alias = alias WHERE connection_id = :'id';
SELECT provconn_audit_report(t.u('report')) AS page \gset
SELECT t.is_xml(:'page') AS xml, :'page' ~ '^[\x09\x0a\x20-\x7e]*$' AS ascii;
SELECT t.tags(:'page', 'script') AS script, t.tags(:'page', 'img') AS img, t.tags(:'page', 'link') AS link, t.tags(:'page', 'iframe') AS iframe, t.tags(:'page', 'style') AS style,
       (SELECT count(*) FROM regexp_matches(:'page', '<[^>]*\s(on\w+|src|style|srcset|data|action|formaction)\s*=', 'g')) AS attributes,
       (SELECT count(*) FROM regexp_matches(:'page', 'href="(?!#)', 'g')) AS references, (SELECT string_agg(m[1], ' ') FROM regexp_matches(:'page', '(@import|url\(|https?:[^"]*)', 'g') AS m) AS urls;
SELECT count(*) FILTER (WHERE position(harm IN :'page') > 0 AND harm !~ '^javascript') AS raw FROM hostile;
SELECT t.tags(:'page', 'svg') - 1 AS pictures, t.tags(:'page', 'desc') AS descriptions, t.tags(:'page', 'article') AS articles, t.tags(:'page', 'caption') = t.tags(:'page', 'table') AS captions,
       :'page' ~ '<meta http-equiv="Content-Security-Policy" content="default-src ''none''; style-src ''unsafe-inline''"/>' AS policy, :'page' ~ '<meta name="viewport" ' AS viewport;
SELECT m[1] AS alias FROM regexp_matches(:'page', '<h3><span class="dim">\d+</span> <bdi>([^<]*)</bdi></h3>', 'g') AS m ORDER BY m[1] COLLATE "C";
-- all that was sent is there, but for others' names
SELECT t.section(:'page', 'reads') ~ 'Reads: 25' AS reads, t.section(:'page', 'refused') ~ 'Attempts: 25' AS refused, t.section(:'page', 'direct') ~ 'Changes: 1 ' AS direct,
       t.section(:'page', 'refused') ~ ('for user ' || t.u('report stranger')) AS stranger, t.section(:'page', 'refused') ~ ('owner ' || t.u('report other')) AS owner, :'page' ~ 's secret name' AS others;
SELECT count(*) AS harm_shown FROM regexp_matches(t.section(:'page', 'reads'), '&#x3C;script&#x3E;alert\(1\)&#x3C;/script&#x3E;', 'g');

-- What was checked.
SELECT provconn_seal_audit() IS NOT NULL AS sealed;
SELECT provconn_audit_report(t.u('report')) AS page \gset
SELECT t.section(:'page', 'verification') ~ 'No problem found' AS good, t.section(:'page', 'verification') ~ 'All audit rows of this user are sealed' AS sealed,
       position(provconn_seal_audit() ->> 'seal_hash' IN :'page') > 0 AS digest;
SELECT ok FROM provconn_reveal(t.u('report'), :'id', 'one more');
SELECT t.section(provconn_audit_report(t.u('report')), 'verification') ~ '1 audit row of this user is newer than it' AS unsealed;
-- a row that was altered, one that is gone, of the user's or of a chain; and one of an attempt that was rolled back
BEGIN;
SELECT tableoid::regclass AS part FROM provconn.audit WHERE connection_id = :'id' LIMIT 1 \gset
SELECT audit_id AS row FROM provconn.audit WHERE connection_id = :'id' AND reason = ']]>' AND outcome = 'succeeded' \gset
ALTER TABLE provconn.audit DISABLE TRIGGER USER;
ALTER TABLE :part DISABLE TRIGGER USER;
INSERT INTO provconn.audit SELECT (jsonb_populate_record(a, jsonb_build_object('audit_id', left(audit_id::text, 24) || 'abcdefabcdef', 'outcome', 'rolled_back', 'attempt_id', '7'))).* FROM provconn.audit AS a WHERE audit_id = :'row';
SAVEPOINT attempt;
SELECT provconn_audit_report(t.u('report')) AS page \gset
SELECT t.section(:'page', 'refused') ~ 'Attempts: 26 ' AS refused, t.section(:'page', 'refused') ~ 'reveal rolled back' AS rolled_back, :'page' ~ '>rolled back <tspan>1</tspan>' AS lane;
UPDATE provconn.audit SET reason = 'innocent' WHERE audit_id = :'row';
SELECT t.section(provconn_audit_report(t.u('report')), 'verification') ~ ('altered ' || :'row') AS altered;
ROLLBACK TO attempt;
DELETE FROM provconn.audit WHERE audit_id = :'row';
SELECT t.section(provconn_audit_report(t.u('report')), 'verification') ~ ('missing ' || :'row') AS missing;
ROLLBACK TO attempt;
DELETE FROM provconn.audit WHERE connection_id = :'id' AND seq = 1;
SELECT t.section(provconn_audit_report(t.u('report')), 'verification') ~ 'rows 1 to 1 before it are gone' AS gap;
-- a claim on another's connection is in another shard
ROLLBACK TO attempt;
UPDATE provconn.audit SET reason = 'innocent' WHERE user_id = t.u('report') AND owner_id = t.u('report other');
SELECT t.section(provconn_audit_report(t.u('report')), 'verification') ~ 'the personal values are not those that the row committed to' AS altered;
ROLLBACK;

-- A page is bounded, the counts are not.
BEGIN;
SELECT t.active(t.u('report many'), 'many') AS many \gset
SELECT count(*) FILTER (WHERE (provconn_refresh(provconn_refresh_command(:'many', provconn_credentials('s', 'custom')))).ok) AS refreshes FROM generate_series(1, 500);
SELECT provconn_audit_report(t.u('report many')) AS page \gset
SELECT t.section(:'page', 'events') ~ 'Events: the newest 200 of 501 ' AS thinned, t.tags(:'page', 'tr') AS table_rows, length(:'page') < 120000 AS short, substring(:'page' FROM 'connected: 1\. refreshed: 500\. In the end: active\.') AS description;
SELECT t.tags(:'page', 'use') + t.tags(:'page', 'rect') < 150 AS few_marks;
ROLLBACK;

-- Providers and roles have names as well.
BEGIN;
CREATE ROLE "regress_provconn_<b>'&";
SELECT provconn_grant('"regress_provconn_<b>''&"', 'application');
SELECT provconn_register_provider('hostile', '"><svg onload=alert(2)>', 'custom', NULL, t.p('hostile')) IS NOT NULL AS registered;
SET ROLE "regress_provconn_<b>'&";
SELECT ok FROM provconn_connect(provconn_connect_command(t.u('report names'), t.p('hostile'), 'hostile', provconn_credentials('s', 'custom')));
RESET ROLE;
SELECT provconn_audit_report(t.u('report names')) AS page \gset
SELECT t.is_xml(:'page') AS xml, position('<svg onload' IN :'page') AS provider, position('_<b>' IN :'page') AS role, t.section(:'page', 'events') ~ 'as regress_provconn_&#x3C;b&#x3E;&#x27;&#x26; ' AS caller;
SELECT substring(:'page' FROM '<dt>Provider</dt><dd>(.*?)</dd>') AS provider;
ROLLBACK;

-- Erased users: what is gone is said to be gone.
SELECT provconn_erase_user(t.u('report')) AS erased;
SELECT provconn_audit_report(t.u('report')) AS page \gset
SELECT t.is_xml(:'page') AS xml, :'page' ~ 'This user was erased' AS told, position('alert(1)' IN :'page') AS alias, position('curious' IN :'page') AS reason, t.section(:'page', 'reads') ~ 'Reads: 25' AS reads,
       t.section(:'page', 'reads') ~ 'erased erased erased' AS rows, t.section(:'page', 'elsewhere') ~ 'Rows: 1 .*erase_user' AS record, t.section(:'page', 'verification') ~ 'No problem found' AS good;

-- It reads only; auditors may, others may not, and the caller's settings have no say.
BEGIN READ ONLY;
SELECT t.is_xml(provconn_audit_report(t.u('report'))) AS read_only;
ROLLBACK;
CREATE ROLE regress_provconn_app;
CREATE ROLE regress_provconn_auditor;
SELECT provconn_grant('regress_provconn_app', c) FROM unnest(ARRAY['application', 'secrets', 'worker', 'reader', 'operator']) AS c;
SELECT provconn_grant('regress_provconn_auditor', 'auditor');
SET ROLE regress_provconn_app;
SELECT t.code('SELECT provconn_audit_report(t.u(''report''))') AS application;
SET ROLE regress_provconn_auditor;
SET DateStyle = 'SQL, DMY';
SET TimeZone = 'Pacific/Auckland';
SET search_path = '';
SELECT public.provconn_audit_report(t.u('report other')) AS page \gset
RESET search_path;
SELECT t.is_xml(:'page') AS xml, :'page' ~ '<dd>regress_provconn_auditor</dd>' AS asked, current_setting('jit') = (SELECT reset_val FROM pg_settings WHERE name = 'jit') AS jit,
       abs(extract(epoch FROM statement_timestamp() AT TIME ZONE 'UTC' - substring(:'page' FROM 'Generated \(UTC\)</dt><dd>([-0-9: ]+)')::timestamp)) < 60 AS utc;
RESET ROLE;
RESET DateStyle;
RESET TimeZone;
SELECT provconn_revoke('regress_provconn_app', c) FROM unnest(ARRAY['application', 'secrets', 'worker', 'reader', 'operator']) AS c;
SELECT provconn_revoke('regress_provconn_auditor', 'auditor');
DROP ROLE regress_provconn_app, regress_provconn_auditor;
