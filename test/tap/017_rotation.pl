# Re-encryption beside live traffic, and after kill -9 in the middle of it: no
# client sees an error, every secret opens, nothing is done twice, and the old
# key retires.
#
# PROVCONN_TEST_SCALE (default 1) multiplies the number of connections: at 50 there
# are 100,000, and what the clients waited for is measured.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use IPC::Run ();
use ProvconnNode;
use ProvconnQueue;
use PostgreSQL::Test::Utils;
use Test::More;

use constant CLIENTS => 4;

my $count = ProvconnQueue::scaled(2000);
my $seconds = $count < 20000 ? 3 : 15;
my $node = ProvconnNode::make('main', conf => "restart_after_crash = on\nmax_wal_size = '4GB'");
my $admin = ProvconnNode::session($node);
my $dir = PostgreSQL::Test::Utils::tempdir();

ProvconnQueue::prepare($admin, 'acme');
# What each connection is to hold: its number and a long tail.
ProvconnQueue::connect_many($admin, 'acme', $count, q(now() + interval '1 day'));
$admin->must($_)
  for (
	'CREATE TABLE expected (n int PRIMARY KEY, connection_id uuid, user_id uuid)',
	q(INSERT INTO expected SELECT row_number() OVER (ORDER BY created_at, connection_id), connection_id, user_id FROM provconn_connections),
	'VACUUM ANALYZE');
my $secret = q(provconn_oauth2_credentials('access ' || n, 'refresh ' || n || repeat('x', 1400), now() + interval '1 day'));
is($admin->value("SELECT count(*) FROM expected, provconn_refresh(provconn_refresh_command(connection_id, $secret)) WHERE ok"),
	$count, 'each has a secret of its own');

# Refreshes with the secret that the connection has anyway.
append_to_file("$dir/refresh.sql",
	"\\set n random(1, $count)\n"
	  . "SELECT ok FROM expected, provconn_refresh(provconn_refresh_command(connection_id, $secret)) WHERE n = :n;\n");

sub start_clients
{
	my ($name, $time) = @_;
	my ($out, $err) = ('', '');

	return {
		name => $name,
		out  => \$out,
		err  => \$err,
		run  => IPC::Run::start(
			[
				'pgbench', '-n', '-M', 'prepared', '-c', CLIENTS, '-j', 1, '-T', $time, '-f', "$dir/refresh.sql",
				'--log', "--log-prefix=$dir/$name", $node->connstr('postgres')
			],
			'<', \undef, '>', \$out, '2>', \$err)
	};
}

# How long they waited: the 50th and 99th of a hundred, in milliseconds.
sub latencies
{
	my ($name) = @_;
	my @all = sort { $a <=> $b } map { (split)[2] } map { split /\n/, slurp_file($_) } glob("$dir/$name.*");

	return map { sprintf('%.2f', $all[ int($#all * $_) ] / 1000) } 0.5, 0.99;
}

sub everything_opens
{
	my ($name) = @_;

	is($admin->value(q(SELECT count(*) FROM expected AS e, provconn_reveal(e.user_id, e.connection_id) AS r
		WHERE r.secret_text::json ->> 'access_token' = 'access ' || n
		AND r.secret_text::json ->> 'refresh_token' = 'refresh ' || n || repeat('x', 1400))), $count, "$name: every secret opens, and is its own");
	return;
}

# The version counts the refreshes, and so do the audit's rows.
sub nothing_is_twice
{
	my ($name) = @_;

	is( $admin->value(q(SELECT count(*) FROM provconn.connection AS c
		WHERE c.audit_seq <> c.version
		OR c.version <> (SELECT count(*) FROM provconn.audit AS a WHERE a.connection_id = c.connection_id AND a.seq IS NOT NULL))),
		'0', "$name: versions and audit know of the refreshes alone");
	return;
}

# --- live traffic -----------------------------------------------------------

my $base = start_clients('before', $seconds);
$base->{run}->finish;
is($admin->value('SELECT provconn_rotate_key()'), '2', 'a new key');
my $clients = start_clients('during', $count < 20000 ? 4 : 75);
ok(ProvconnNode::wait_until(sub { $admin->value(q(SELECT count(*) FROM provconn.connection WHERE get_byte(credential, 4) = 2)) > 0 }),
	'the clients seal with it at once');
my $notices = '';
my $result = IPC::Run::run([ 'psql', '-X', '-c', 'CALL provconn_reencrypt()', $node->connstr('postgres') ],
	'<', \undef, '>', '/dev/null', '2>', \$notices);
ok($result, 're-encryption finishes beside them') or diag($notices);
like($notices, qr/NOTICE:  re-encrypted \d+ of \d+ credentials with data key 2/, 'and tells of it');
$clients->{run}->finish;
for ($base, $clients)
{
	is($_->{run}->result(0), 0, "clients $_->{name}: no error") or diag(${ $_->{err} });
	like(${ $_->{out} }, qr/number of failed transactions: 0 /, "clients $_->{name}: no transaction failed");
}
is($admin->value(q(SELECT connections FROM provconn_keys WHERE key_id = 1)), '0', 'nothing is sealed with the old key');
everything_opens('beside live traffic');
nothing_is_twice('beside live traffic');
$admin->must('SELECT provconn_retire_key(1)');
everything_opens('after the old key is destroyed');
my @before = latencies('before');
my @during = latencies('during');
note("$count connections, milliseconds: before p50 $before[0], p99 $before[1]; during p50 $during[0], p99 $during[1]");

# --- kill -9 in the middle ---------------------------------------------------

$admin->must('SELECT provconn_rotate_key()');
my $doomed = ProvconnNode::session($node);
$doomed->must('SET provconn.reencrypt_delay = 20');
$doomed->start_query('CALL provconn_reencrypt(batch_size => 20)');
my $watch = ProvconnNode::session($node);
ok( ProvconnNode::wait_until(
		sub { ($watch->value('SELECT done FROM provconn_progress WHERE finished_at IS NULL AND key_id = 3') // 0) > $count / 4 }),
	'a quarter is done');
# Re-encryption does not wait for its commits to reach the disk; this one does, and theirs with it.
$watch->must('CREATE TABLE flushed ()');
kill 'KILL', $doomed->pid;
eval { $doomed->finish };
eval { $watch->query('SELECT pg_sleep(60)') };
ok(ProvconnNode::wait_until(sub { eval { ($admin = ProvconnNode::session($node))->value('SELECT 1') } }), 'the server is back');
my $left = $admin->value('SELECT connections FROM provconn_keys WHERE key_id = 2');
my $done = $admin->value('SELECT done FROM provconn_progress');
cmp_ok($left, '>', 0, 'some are left');
cmp_ok($left, '<', $count, 'some are done');
is($left + $done, $count, 'the progress that was saved is the one that was made');
everything_opens('after the crash');
$admin->must('SET client_min_messages = warning; SET provconn.reencrypt_delay = 0');
$admin->must('CALL provconn_reencrypt()');
is($admin->value('SELECT connections FROM provconn_keys WHERE key_id = 2'), '0', 'called again, it does the rest');
is($admin->value('SELECT done FROM provconn_progress WHERE finished_at IS NOT NULL'), $count, 'and only the rest');
$admin->must('SELECT provconn_retire_key(2)');
everything_opens('resumed');
nothing_is_twice('resumed');

# The whole server, as in a power failure: commits that had not reached the disk.
$admin->must('SELECT provconn_rotate_key()');
$doomed = ProvconnNode::session($node);
$doomed->must('SET provconn.reencrypt_delay = 5');
$doomed->start_query('CALL provconn_reencrypt(batch_size => 20)');
$watch = ProvconnNode::session($node);
ok(ProvconnNode::wait_until(sub { ($watch->value('SELECT done FROM provconn_progress WHERE finished_at IS NULL AND key_id = 4') // 0) > $count / 4 }),
	'a quarter is done');
$node->stop('immediate');
$node->start;
$admin = ProvconnNode::session($node);
everything_opens('after the server is killed');
$admin->must('SET client_min_messages = warning; SET provconn.reencrypt_delay = 0');
$admin->must('CALL provconn_reencrypt()');
$admin->must('SELECT provconn_retire_key(3)');
everything_opens('and resumed');
nothing_is_twice('and resumed');
my $log = ProvconnNode::log_since($node, 0);
unlike($log, qr/TRAP:|PANIC:/, 'no assertion failed');

done_testing();
