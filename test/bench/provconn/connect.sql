\set i :i + 1
\set n :base + :client_id * :per + :i
SELECT (provconn_connect(provconn_connect_command(kit.stranger(:n), '01900000-0000-7000-8000-000000000003', 'bank-3', provconn_credentials(:p, 'oauth2', now() + interval '1 hour'), 'my account'))).connection_id;
