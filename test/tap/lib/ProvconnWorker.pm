# ProvconnWorker: servers with the background worker, for the tests that look at
# what it puts on record.

package ProvconnWorker;

use strict;
use warnings;

use ProvconnNode;

use constant PROVIDER => q('00000000-0000-4000-8000-0000000000aa');

my $sentinels = 0;

# As ProvconnNode::make, with the library preloaded.
sub make
{
	my ($name, %opt) = @_;

	$opt{conf} = "shared_preload_libraries = 'provconn'\n" . ($opt{conf} // '');
	return ProvconnNode::make($name, %opt);
}

# Registers the provider, and returns the ids of so many connections to it, each of
# user($n); the secret of each is "secret-$n".
sub connect_some
{
	my ($admin, $count) = @_;

	$admin->must("SELECT provconn_register_provider('acme', 'Acme', 'custom', NULL, " . PROVIDER . ')');
	return map { $_->[0] } @{ $admin->must("SELECT c.connection_id FROM generate_series(1, $count) AS n, provconn_connect("
			  . "provconn_connect_command(md5(n::text)::uuid, " . PROVIDER . ", 'acme', provconn_credentials('secret-' || n, 'custom'))) AS c ORDER BY n")->{rows} };
}

# The user of the connection of that number.
sub user
{
	my ($number) = @_;

	return "md5('$number')::uuid";
}

# Waits until everything that was rolled back before is on record: entries are put on
# record in their order, so it is enough to see one more.
sub settle
{
	my ($session, $seconds) = @_;
	my $name = 'sentinel ' . ++$sentinels . " of $$";

	# What the WAL tells after a crash comes before the sentinel.
	ProvconnNode::wait_until(sub { $session->value(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'provconn launcher' AND state = 'idle')) > 0 }, $seconds // 60)
	  or return 0;
	$session->must($_) for ('BEGIN', "SELECT provconn_mark_expired('00000000-0000-4000-8000-000000000000', '$name')", 'ROLLBACK');
	return ProvconnNode::wait_until(
		sub { $session->value("SELECT count(*) FROM provconn_audit_log WHERE reason = '$name' AND outcome = 'rolled_back'") > 0 },
		$seconds // 60);
}

# A new session once the server is back, and has read what the WAL tells.
sub reconnect
{
	my ($node, %opt) = @_;
	my $session;

	# The postmaster may not have ended it yet, which it does with all.
	ProvconnNode::wait_until(sub { eval { settle($session = ProvconnNode::session($node, %opt), 30) } }, 90)
	  or die "the server or its worker does not come back\n";
	return $session;
}

# Kills a session's process, and returns a new session once the server is back.
sub crash
{
	my ($node, $session) = @_;

	kill 'KILL', $session->pid;
	eval { $session->finish };
	return reconnect($node);
}

1;
