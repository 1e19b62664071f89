# A worker that dies between its claim and its refresh: what it had comes back
# when the lease is over, another worker refreshes it, and what the dead one
# still says is refused.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use IPC::Run ();
use PostgreSQL::Test::Utils;
use ProvconnNode;
use ProvconnQueue;
use Test::More;

my $node  = ProvconnNode::make('main', conf => 'restart_after_crash = on');
my $admin = ProvconnNode::session($node);

ProvconnQueue::prepare($admin, 'acme');
# a provider that answers when nobody holds the lock any more
$admin->must(
	q(CREATE FUNCTION answer_late(slug text, credential text) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM pg_advisory_lock_shared(1);
		PERFORM pg_advisory_unlock_shared(1);
		RETURN '{"access_token": "of the dead", "expires_in": 86400}';
	END $$));

my $size = ProvconnNode::log_size($node);

# A worker that claims the connection and then waits for its provider, as a
# program of its own: its process, and the server's for it.
sub start_worker
{
	my ($name) = @_;

	ProvconnQueue::connect_many($admin, 'acme', 1, 'now()');
	$admin->must('SELECT pg_advisory_lock(1)');
	my $worker = IPC::Run::start(
		[
			'psql', '-X', '-q', '-U', 'worker', '-d', $node->connstr('postgres'), '-c',
			"CALL refresh_worker(worker => '$name', provider => 'answer_late'::regproc, lease_for => '3 seconds')"
		],
		'<', \undef, '>', '/dev/null', '2>', '/dev/null');
	my $backend;
	ok( ProvconnNode::wait_until(
			sub {
				$backend = $admin->value(q(SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted));
			}),
		"$name has its claim and waits for the provider");
	return ($worker, $backend);
}

# The connection of that worker, with the lease it had.
sub claimed_by
{
	my ($name) = @_;

	return @{ $admin->must("SELECT connection_id, lease FROM provconn.connection WHERE leased_by = '$name'")->{rows}[0] };
}

# The other worker: nothing while the lease lasts, then the connection.
sub take_over
{
	my ($name, $id) = @_;
	my $session = ProvconnNode::session($node, user => 'worker');
	my $until = $admin->value("SELECT leased_until FROM provconn.connection WHERE connection_id = '$id'");

	is($admin->value("SELECT leased_by FROM provconn.connection WHERE connection_id = '$id' AND leased_until > clock_timestamp()"),
		$name, "$name: its lease outlives it");
	is($session->value(q(SELECT count(*) FROM provconn_claim_due('too soon'))), 0, "$name: no one else gets it meanwhile");
	ok( ProvconnNode::wait_until(
			sub {
				$session->must(q(CALL refresh_worker(worker => 'heir', provider => 'answer'::regproc)));
				$admin->value("SELECT version = 2 FROM provconn.connection WHERE connection_id = '$id'") eq 't';
			}),
		"$name: another worker refreshes it");
	is($admin->value("SELECT string_agg(action || ' ' || coalesce(reason, ''), ', ' ORDER BY seq) FROM provconn_audit_log WHERE connection_id = '$id'"),
		"connect , claim_due $name, claim_due heir, refresh ", "$name: when the lease is over, and once");
	is($admin->value("SELECT min(occurred_at) >= '$until' FROM provconn_audit_log"
			  . " WHERE connection_id = '$id' AND action = 'claim_due' AND reason = 'heir'"),
		't', "$name: not before");
	$session->close;
	return;
}

# What is stored in the end is the other worker's.
sub holds
{
	my ($name, $id) = @_;

	is($admin->value("SELECT r.secret_text::json ->> 'access_token' FROM provconn_connections AS c,"
			  . " provconn_reveal(c.user_id, c.connection_id) AS r WHERE c.connection_id = '$id'"),
		'second', "$name: what is stored is the other worker's");
	is($admin->value("SELECT version FROM provconn.connection WHERE connection_id = '$id'"), 2, "$name: and nothing else was");
	return;
}

sub report_late
{
	my ($name, $id, $lease) = @_;
	my $late = ProvconnNode::session($node, user => 'worker');

	is($late->value("SELECT error_code FROM provconn_refresh(provconn_refresh_command('$id', provconn_oauth2_credentials('late')), '$lease')"),
		'lease_lost', "$name: its refresh is refused");
	is($late->value("SELECT error_code FROM provconn_report_failure('$id', '$lease', 'late', true)"),
		'lease_lost', "$name: and its report");
	is($late->value("SELECT error_code FROM provconn_release('$id', '$lease')"), 'lease_lost', "$name: and its release");
	$late->close;
	return;
}

# The program is killed: its session does not notice while the provider keeps it
# waiting, and goes on when the answer comes.
{
	my ($worker, $backend) = start_worker('killed client');
	my ($id,     $lease)   = claimed_by('killed client');

	$worker->kill_kill(grace => 0);
	take_over('killed client', $id);
	is($admin->value("SELECT count(*) FROM pg_stat_activity WHERE pid = $backend"), 1, 'the session of the dead is still there');
	$admin->must('SELECT pg_advisory_unlock(1)');
	ok(ProvconnNode::wait_until(
			sub { $admin->value("SELECT count(*) FROM pg_stat_activity WHERE pid = $backend") == 0 }),
		'and comes to its end');
	is($admin->value("SELECT action || ' ' || error_code FROM provconn_audit_log WHERE connection_id = '$id' AND outcome = 'refused'"),
		'refresh lease_lost', 'what it had to say was refused');
	holds('killed client', $id);
	report_late('killed client', $id, $lease);
}

# Its session is ended.
{
	my ($worker, $backend) = start_worker('ended session');
	my ($id,     $lease)   = claimed_by('ended session');

	$admin->must("SELECT pg_terminate_backend($backend)");
	$worker->finish;
	take_over('ended session', $id);
	report_late('ended session', $id, $lease);
	holds('ended session', $id);
	$admin->must('SELECT pg_advisory_unlock(1)');
}
my $log = ProvconnNode::log_since($node, $size);
$log =~ s/.*FATAL:  (terminating connection due to administrator command|connection to client lost)//g;
is(ProvconnQueue::complaints($log), '', 'the log has nothing to complain of');

# The server's process for it is killed, and so the server starts anew.
{
	my ($worker, $backend) = start_worker('killed backend');
	my ($id,     $lease)   = claimed_by('killed backend');

	kill 'KILL', $backend;
	$worker->finish;
	# Until the postmaster knows of it, the old server still lets sessions in, and ends them.
	eval { $admin->query('SELECT pg_sleep(60)') };
	ok( ProvconnNode::wait_until(
			sub {
				$admin = eval { ProvconnNode::session($node) };
			}),
		'the server is back');
	take_over('killed backend', $id);
	report_late('killed backend', $id, $lease);
	holds('killed backend', $id);
}

done_testing();
