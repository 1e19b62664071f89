\set i :i + 1
\set n :base + :client_id * :per + :i
SELECT (provconn_disconnect(provconn_disconnect_command(kit.user(:n), kit.link(:n)))).ok;
