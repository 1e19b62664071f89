-- The constructors: named arguments, the JSON they build, token responses.
\set SHOW_CONTEXT never

-- names and defaults are those of the attributes
SELECT p.proname AS constructor,
       array_to_string(p.proargnames, ' ') AS arguments, p.pronargdefaults AS defaults,
       p.proargnames = (SELECT array_agg(a.attname::text ORDER BY a.attnum)
                        FROM pg_attribute AS a
                        WHERE a.attrelid = t.typrelid AND a.attnum > 0) AS as_the_type
FROM pg_proc AS p JOIN pg_type AS t ON t.oid = p.prorettype AND t.typtype = 'c'
WHERE p.pronamespace = 'public'::regnamespace
  AND p.proname ~ '^provconn_(credentials|[a-z0-9_]*_(command|credentials)|token_response)$'
ORDER BY 1;
SELECT provconn_credentials(), provconn_connect_command(), provconn_disconnect_command(),
       provconn_refresh_command();
SELECT (c).secret, (c).credential_type, (c).expires_at AT TIME ZONE 'UTC' AS expires_at
FROM (SELECT provconn_credentials(credential_type => 'certificate',
	expires_at => '2030-01-02 03:04:05+00', secret => 'a') AS c) AS v;
SELECT (c).user_id = t.u('a') AS user_id, (c).provider_id = t.p('b') AS provider_id,
       (c).provider_slug, (c).credentials, (c).alias
FROM (SELECT provconn_connect_command(alias => 'My IRA', provider_slug => 'schwab', provider_id => t.p('b'),
	user_id => t.u('a'), credentials => provconn_api_key_credentials('k')) AS c) AS v;
SELECT (c).user_id = t.u('a') AS user_id, (c).connection_id = t.u('b') AS connection_id
FROM (SELECT provconn_disconnect_command(connection_id => t.u('b'), user_id => t.u('a')) AS c) AS v;
SELECT (c).connection_id = t.u('b') AS connection_id, (c).credentials
FROM (SELECT provconn_refresh_command(credentials => provconn_api_key_credentials('k'), connection_id => t.u('b')) AS c) AS v;
-- the same as ROW
SELECT provconn_refresh_command(t.u('b'), provconn_credentials('s', 'custom'))::text
     = ROW(t.u('b'), ROW('s', 'custom', NULL))::provconn_refresh_command::text AS same;

-- OAuth 2: members without a value are left out, the others are in one order
SELECT t.stored(provconn_oauth2_credentials('at'));
SELECT t.stored(provconn_oauth2_credentials('at', 'rt'));
SELECT t.stored(provconn_oauth2_credentials('at', 'rt', '2030-01-01 00:00+00', 'read write', 'Bearer'));
SELECT t.stored(provconn_oauth2_credentials(token_type => 'Bearer', access_token => 'at', scope => 's'));
SELECT t.stored(provconn_oauth2_credentials('at', ''));
SELECT (c).credential_type, (c).expires_at AT TIME ZONE 'UTC' AS expires_at
FROM (VALUES (provconn_oauth2_credentials('at', expires_at => '2030-01-01 00:00+00')),
             (provconn_oauth2_credentials('at'))) AS v (c);
-- an API key
SELECT t.stored(provconn_api_key_credentials('key'));
SELECT t.stored(provconn_api_key_credentials('key', 'secret'));
SELECT t.stored(provconn_api_key_credentials('key', ''));
SELECT (c).credential_type, (c).expires_at AT TIME ZONE 'UTC' AS expires_at
FROM (VALUES (provconn_api_key_credentials('k', expires_at => '2030-01-01 00:00+00'))) AS v (c);
-- no token, no secret: that is invalid_credentials, not {}
SELECT n, r.ok, r.error_code
FROM (VALUES (1, provconn_oauth2_credentials(NULL)), (2, provconn_oauth2_credentials('')),
             (3, provconn_oauth2_credentials(NULL, 'rt')), (4, provconn_api_key_credentials(NULL)),
             (5, provconn_api_key_credentials('', 'secret')), (6, provconn_token_response(NULL)),
             (7, provconn_credentials('', 'custom')), (8, provconn_credentials('s')),
             (9, provconn_credentials()), (10, NULL)) AS v (n, c),
     provconn_connect(provconn_connect_command(t.u('constructors'), t.p('schwab'), 'schwab', c)) AS r
ORDER BY n;

-- escaping: what JSON demands and no more; it reads back as what went in
SELECT t.stored(provconn_oauth2_credentials(E'q" b\\ s/ n\n r\r t\t b\b f\f \x01\x1f', '{"a":1}'));
SELECT t.stored(provconn_oauth2_credentials(s, s, NULL, s, s))::jsonb
     = jsonb_build_object('access_token', s, 'refresh_token', s, 'scope', s, 'token_type', s) AS reads_back
FROM (SELECT string_agg(chr(i), '' ORDER BY i) AS s FROM generate_series(1, 700) AS i) AS v;
SELECT t.stored(provconn_api_key_credentials(s, s))::jsonb
     = jsonb_build_object('api_key', s, 'api_secret', s) AS reads_back
FROM (SELECT U&'\20ac\+01f511\2028"\\' AS s) AS v;
-- JSON cannot carry bytes that are no text
SELECT t.fault($$SELECT provconn_oauth2_credentials('\x6300'::bytea)$$);
SELECT t.fault($$SELECT provconn_oauth2_credentials('at', '\xc3'::bytea)$$);
SELECT t.fault($$SELECT provconn_api_key_credentials('\xff'::bytea)$$);
SELECT t.fault($$SELECT provconn_api_key_credentials('k', '\x00'::bytea)$$);

-- A token response.  RFC 6749, section 5.1:
SELECT t.stored(c) AS stored, (c).credential_type, (c).expires_at AT TIME ZONE 'UTC' AS expires_at
FROM (SELECT provconn_token_response('{
       "access_token":"2YotnFZFEjr1zCsicMWpAA",
       "token_type":"example",
       "expires_in":3600,
       "refresh_token":"tGzv3JOkF0XG5Qx2TlKWIA",
       "example_parameter":"example_value"
     }', '2026-01-01 00:00:00+00') AS c) AS v \gx
-- section 4.4.3, without a refresh token
SELECT t.stored(c) AS stored, (c).credential_type, (c).expires_at AT TIME ZONE 'UTC' AS expires_at
FROM (SELECT provconn_token_response('{
       "access_token":"2YotnFZFEjr1zCsicMWpAA",
       "token_type":"example",
       "expires_in":3600,
       "example_parameter":"example_value"
     }', '2026-01-01 00:00:00+00') AS c) AS v \gx
-- received_at is now() by default
BEGIN;
SELECT (provconn_token_response('{"access_token":"a","expires_in":60}')).expires_at - now() AS left;
COMMIT;
-- no response, no expiry
SELECT (provconn_token_response('{"access_token":"a"}', '2026-01-01 00:00:00+00')).expires_at IS NULL AS no_member,
       (provconn_token_response('{"access_token":"a","expires_in":null}', '2026-01-01 00:00:00+00')).expires_at IS NULL AS null_member,
       (provconn_token_response('{"access_token":"a"}', NULL)).expires_at IS NULL AS nobody_knows_when;
-- only whitespace outside strings goes; order, duplicates, escapes, numbers stay
SELECT t.stored(provconn_token_response(E' {\t"z" : [ 1 , { "b" : null } , [ ] ] ,\r\n "access_token" : " a  b\\n\\u0041 " , "a":1.50e+02, "a" : { } } '));
SELECT t.stored(provconn_token_response((U&'{"access_token":"\00e9\20ac\+01f511", "scope": ""}')::text)) = U&'{"access_token":"\00e9\20ac\+01f511","scope":""}' AS unicode;
SELECT t.stored(provconn_token_response(v.json)) FROM (VALUES ('{"access_token": "from json",  "x": 1}'::json)) AS v (json);
SELECT t.stored(provconn_token_response(v.json)) FROM (VALUES ('{"access_token": "from jsonb", "a": 1}'::jsonb)) AS v (json);
SELECT t.stored(provconn_token_response('{"access_token": "from bytea"}'::bytea));
SELECT length(t.stored(provconn_token_response('{ "access_token" : "' || repeat('x', 1000000) || '" }'))) AS long;
-- a name may be written with escapes, and the last of two counts
SELECT (provconn_token_response('{"access_token":"a","expires_in":1,"\u0065xpires_in":2}', '2026-01-01 00:00:00+00')).expires_at AT TIME ZONE 'UTC' AS expires_at;

-- forms of expires_in
CREATE FUNCTION pg_temp.seconds(form text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	received_at timestamptz := '2026-01-01 00:00:00+00';
	response text := '{"access_token":"a","expires_in":' || form || '}';
BEGIN
	RETURN extract(epoch FROM (provconn_token_response(response, received_at)).expires_at - received_at);
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ' ' || sqlerrm;
END $$;
SELECT form, pg_temp.seconds(form) AS seconds
FROM (VALUES (1, '3600'), (2, '"3600"'), (3, '0'), (4, '-0'), (5, '3600.5'), (6, '"3600.5"'), (7, '3.6e3'), (8, '36E+2'),
             (9, '360000e-2'), (10, '0.0000019'), (11, '1e-9'), (12, '0.1'), (13, '" 60 "'), (14, '1e5'),
             (15, '3599.999999'), (16, '3599.9999999'), (17, '000'), (18, '-1'), (19, '"-1"'), (20, '"soon"'), (21, '""'), (22, 'true'),
             (23, '[3600]'), (24, '{}'), (25, '"0x10"'), (26, '1e13'), (27, '1e400'), (28, '99999999999999999999999'),
             (29, '1e-400'), (30, '"1e3"'), (31, '1e10'), (32, '"3600s"'), (33, '"NaN"'), (34, '"Infinity"')) AS v (n, form)
ORDER BY n;
-- past the calendar's end
SELECT t.fault($$SELECT provconn_token_response('{"access_token":"a","expires_in":1e5}', '294276-12-31 00:00:00+00')$$);
-- an infinite time stays so; an unknown one will not do
SELECT (provconn_token_response('{"access_token":"a","expires_in":60}', 'infinity')).expires_at;
SELECT t.fault($$SELECT provconn_token_response('{"access_token":"a","expires_in":60}', NULL)$$);

-- RFC 6749, section 5.2: an error response is an error, and is not echoed
SELECT t.fault($$SELECT provconn_token_response('{ "error":"invalid_request" }')$$);
SELECT n, t.code(format('SELECT provconn_token_response(%L)', response)) AS code,
       t.everything_said(format('SELECT provconn_token_response(%L)', response)) ~ 'c4nary' AS echoed
FROM (VALUES (1, '{"error":"invalid_grant","error_description":"c4nary"}'),
             (2, '{"access_token":"c4nary","error":"c4nary"}'),
             (3, '{"access_token":"c4nary","\u0065rror":"c4nary"}'),
             (4, '{"error":null,"access_token":"c4nary"}'),
             (5, '{"error":"c4nary"')) AS v (n, response) ORDER BY n;
-- "error" anywhere else is nothing special
SELECT t.stored(provconn_token_response('{"access_token":"a","x":{"error":"e"},"errors":1,"Error":2}'));

-- what is no token response, and no word of it in the error
SELECT n, t.message(format('SELECT provconn_token_response(%L)', response)) AS fault,
       t.everything_said(format('SELECT provconn_token_response(%L)', response)) ~ 'c4nary' AS echoed
FROM (VALUES
	(1, ''), (2, ' '), (3, 'c4nary'), (4, '"c4nary"'), (5, '["c4nary"]'), (6, 'null'), (7, '1'), (8, '{}'),
	(9, '{"access_token":null}'), (10, '{"access_token":1}'), (11, '{"access_token":""}'),
	(12, '{"access_token":{"c4nary":1}}'), (13, '{"Access_Token":"c4nary"}'),
	(14, '{"access_token":"c4nary"'), (15, '{"access_token":"c4nary}'), (16, '{"access_token":"c4nary",}'),
	(17, '{"access_token":"c4nary"} x'), (18, '{"access_token":"c4nary"}{}'), (19, '{''access_token'':''c4nary''}'),
	(20, '{access_token:"c4nary"}'), (21, '{"access_token":"c4nary","x":01}'), (22, '{"access_token":"c4nary","x":NaN}'),
	(23, '{"access_token":"c4nary","x":"\x"}'), (24, '{"access_token":"c4nary","x":"\u12"}'),
	(25, E'{"access_token":"c4na\nry c4nary"}'), (26, '{"access_token":"c4nary" "x":1}'),
	(27, '{"access_token":"c4nary","x":+1}'), (28, '{"access_token":"c4nary","x":.5}'),
	(29, '{"access_token":"c4nary","x":tru}'), (30, 'access_token=c4nary&expires_in=1'),
	(31, '{"access_token":"c4nary","x":' || repeat('[', 300) || repeat(']', 300) || '}'),
	(32, '{"access_token":"c4nary","access_token":""}')
) AS v (n, response) ORDER BY n;
SELECT t.fault($$SELECT provconn_token_response('\x7b22ff227d'::bytea)$$);
SELECT t.code($$SELECT provconn_token_response('\x7b00'::bytea)$$) AS zero_byte;
