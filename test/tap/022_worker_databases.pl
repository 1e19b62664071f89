# The background worker in several databases, with a ring that fills, beside dumps
# and on a standby.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use IPC::Run ();
use ProvconnNode;
use ProvconnWorker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my (@ids, $lost);
my $dir = PostgreSQL::Test::Utils::tempdir();
my $size = 0;
my $small = ProvconnWorker::make('small', conf => <<'CONF');
provconn.attempt_buffers = '64kB'
provconn.databases = 'postgres, one, absent, bare, "Mixed"'
provconn.seal_interval = 1
max_replication_slots = 0
max_wal_senders = 0
CONF

# A database with the extension and 20 connections.
sub make_database
{
	my ($name) = @_;
	my $session = ProvconnNode::session($small, dbname => 'template1');

	$session->must(qq(CREATE DATABASE "$name" TEMPLATE template0));
	$session->close;
	$session = ProvconnNode::session($small, dbname => $name);
	$session->must('CREATE EXTENSION provconn CASCADE');
	@ids = ('', ProvconnWorker::connect_some($session, 20));
	return $session;
}

sub roll_back
{
	my ($session, $many) = @_;

	$session->must($_) for ('BEGIN', "SELECT ok FROM generate_series(1, $many) AS n, provconn_rename(" . ProvconnWorker::user(1) . ", '$ids[1]', 'x' || n)", 'ROLLBACK');
	return;
}

sub rolled_back { return $_[0]->value(q(SELECT count(*) FROM provconn_audit_log WHERE outcome = 'rolled_back' AND action = 'rename')); }

sub small_log { return ProvconnNode::log_since($small, $size); }

like(small_log(), qr/WARNING:  provconn has no replication slot: .*\n.*HINT:  Raise max_replication_slots/, 'no slot: a warning');
my $one = make_database('one');
my $mixed = make_database('Mixed');
my $unlisted = make_database('mixed');
ProvconnNode::session($small)->must('CREATE DATABASE bare TEMPLATE template0');
for my $session ($mixed, $unlisted, $one)
{
	@ids = ('', map { $_->[0] } @{ $session->must(q(SELECT connection_id FROM provconn_connections WHERE user_id = md5('1')::uuid))->{rows} });
	roll_back($session, 10);
}
ok(ProvconnWorker::settle($one), 'a worker comes to one database');
ok(ProvconnWorker::settle($mixed), 'and to another one');
is(rolled_back($one), 10, 'what was rolled back there is on record');
is(rolled_back($mixed), 10, 'here, too');
is(rolled_back($unlisted), 0, 'not in a database that is not listed');
is($unlisted->value('SELECT count(*) FROM provconn.seal'), 0, 'nor is it sealed');
for my $session ($one, $mixed)
{
	ok(ProvconnNode::wait_until(sub { $session->value('SELECT count(*) FROM provconn.seal') > 0 }, 10), 'others are sealed');
}

# Full, since its reader sleeps.
my $stopped;
ok(ProvconnNode::wait_until(sub { roll_back($one, 1); $stopped = $one->value(q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'provconn worker' AND datname = 'one' AND wait_event = 'Extension')) }), 'a worker waits for more');
kill 'STOP', $stopped;
my $already = rolled_back($one);
my $canary = 'SECRET' . ProvconnNode::random_key();
$one->must($_) for ('BEGIN', "SELECT ok FROM generate_series(1, 500) AS n, provconn_refresh(provconn_refresh_command('$ids[1]', provconn_credentials('$canary' || n, 'custom')))", 'ROLLBACK');
my $log = small_log();
$lost = () = $log =~ /LOG:  provconn could not put an attempt on record that was rolled back\n.*DETAIL:  Action refresh, connection [0-9a-f]{32}, user [0-9a-f]{32}, role \w+, error code , transaction \d+\./g;
cmp_ok($lost, '>', 50, "a ring is full: $lost are in the log");
cmp_ok($lost, '<', 450, 'and not the others');
unlike($log, qr/$canary.*DETAIL|could not put.*$canary/, 'without the secret');
kill 'CONT', $stopped;
my $refreshes = q(SELECT count(*) FROM provconn_audit_log WHERE action = 'refresh' AND outcome = 'rolled_back');
ok(ProvconnNode::wait_until(sub { $one->value($refreshes) + $lost >= 500 }, 10), 'the worker goes on');
ok(ProvconnWorker::settle($one), 'and comes to an end');
is($one->value($refreshes) + $lost, 500, 'each is on record or in the log');
is($one->value('SELECT max(attempts_lost) FROM provconn_stats'), $lost, 'they are counted');

# Databases come and go.
my $postgres = ProvconnNode::session($small);
roll_back($one, 100);
$one->close;
$postgres->must('DROP DATABASE one');
pass('a database can be dropped just after that');
$one = make_database('one');
roll_back($one, 10);
ok(ProvconnWorker::settle($one), 'a worker comes to the new one');
is(rolled_back($one), 10, 'what was rolled back there is on record');
$one->must($_) for ('DROP EXTENSION provconn', 'CREATE EXTENSION provconn CASCADE');
@ids = ('', ProvconnWorker::connect_some($one, 20));
roll_back($one, 10);
ok(ProvconnWorker::settle($one), 'and to a new extension');
is(rolled_back($one), 10, 'what was rolled back there is on record');
roll_back($one, 10);
$one->must('DROP EXTENSION provconn');
$one->close;
$unlisted->close;
$postgres->must('ALTER DATABASE one RENAME TO another');
$postgres->must('ALTER DATABASE mixed RENAME TO one');
$unlisted = ProvconnNode::session($small, dbname => 'one');
ok(ProvconnWorker::settle($unlisted), 'a worker comes to a database that gets a name that is listed');

# A dump, restored while the worker looks on each second.
my $dump = "$dir/dump.sql";
command_ok([ 'pg_dump', '-f', $dump, $small->connstr('Mixed') ], 'a dump');
$postgres->must('CREATE DATABASE absent TEMPLATE template0');
open(my $sql, '<', $dump) or die "$dump: $!";
my $out = '';
my $run = IPC::Run::start([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $small->connstr('absent') ], '<pipe', \*RESTORE, '>', \$out, '2>&1');
while (my $line = <$sql>)
{
	# In the middle of the data, and before the triggers.
	select(undef, undef, undef, 1.5) if $line =~ /^COPY provconn\.(seal|provider) / || $line =~ /^SELECT .*setval/;
	print RESTORE $line;
}
close(RESTORE);
ok($run->finish, 'is restored') or diag(substr($out, -500));
my $restored = ProvconnNode::session($small, dbname => 'absent');
is($restored->value('SELECT count(*) FROM provconn.audit'), $mixed->value('SELECT count(*) FROM provconn.audit'), 'all of it');
@ids = ('', map { $_->[0] } @{ $restored->must(q(SELECT connection_id FROM provconn_connections WHERE user_id = md5('1')::uuid))->{rows} });
my $sealed = $restored->value('SELECT count(*) FROM provconn.seal');
$restored->must("SELECT provconn_rename(" . ProvconnWorker::user(1) . ", '$ids[1]', 'y')");
$restored->must('SELECT provconn_seal_audit()');
$restored->must("SELECT provconn_rename(" . ProvconnWorker::user(1) . ", '$ids[1]', 'z')");
ok(ProvconnNode::wait_until(sub { $restored->value('SELECT count(*) FROM provconn.seal') > $sealed + 1 }, 20), 'the worker seals it then');
is($restored->value(q(SELECT count(*) FROM provconn_verify_audit() WHERE severity = 'problem')), '0', 'it verifies');

my $past = q(now() - interval '2 days');

# Connections that are overdue, with a refresh token and without.
sub overdue
{
	my ($user, $constructor) = @_;

	return $mixed->value("SELECT ok FROM provconn_connect(provconn_connect_command(md5('$user')::uuid, " . ProvconnWorker::PROVIDER
		  . ", 'acme', provconn_$constructor))");
}

my $expired = q(SELECT count(*) FROM provconn_connections WHERE status = 'expired');
is(overdue('e', "oauth2_credentials('a', 'r', $past)") . overdue('f', "credentials('a', 'custom', $past)"), 'tt', 'two that are overdue');
ok(ProvconnNode::wait_until(sub { $mixed->value($expired) > 0 }, 10), 'what is overdue and cannot be refreshed expires');
is($mixed->value($expired), '1', 'what can be is left for provconn.expire_after');
$postgres->must($_) for ('ALTER SYSTEM SET provconn.expire_after = -1', 'SELECT pg_reload_conf()');
overdue('g', "credentials('a', 'custom', $past)");
sleep 3;
is($mixed->value($expired), '1', 'with -1 nothing expires');
$postgres->must($_) for (q(ALTER SYSTEM SET provconn.expire_after = '1d'), 'SELECT pg_reload_conf()');
ok(ProvconnNode::wait_until(sub { $mixed->value($expired) == 3 }, 10), 'with a day all do');
is($mixed->value(q(SELECT string_agg(DISTINCT application_name || ' ' || session_role, ',') FROM provconn_audit_log WHERE action = 'expire_overdue')), 'provconn worker ' . getpwuid($>), 'as is on record');

$log = small_log();
for my $name (qw(absent bare))
{
	my $told = () = $log =~ /(LOG|FATAL|WARNING|ERROR): .*\b$name\b/g;

	cmp_ok($told, '<=', 2, "the log is not full of $name");
}
unlike($log, qr/TRAP:|PANIC:/, 'no assertion failed');
$small->stop;

# --- a standby ------------------------------------------------------------------------

my $primary = ProvconnWorker::make('primary', init => { allows_streaming => 1 }, conf => "restart_after_crash = on\nprovconn.seal_interval = 1\nprovconn.attempt_buffers = '64kB'");
my $admin = ProvconnNode::session($primary);
@ids = ('', ProvconnWorker::connect_some($admin, 5));

# After a crash the WAL tells of more than the ring holds.
$admin->must('SELECT count(ok) FROM generate_series(1, 2000) AS n, provconn_reveal(' . ProvconnWorker::user(1) . ", '$ids[1]', 'many ' || n)");
$admin = ProvconnWorker::crash($primary, ProvconnNode::session($primary));
is($admin->value(q(SELECT concat_ws(' ', count(*), min(outcome), max(outcome)) FROM provconn_audit_log WHERE reason LIKE 'many %')), '2000 succeeded succeeded', 'reveals that had committed are on record, once');
unlike(ProvconnNode::log_since($primary, 0), qr/could not put an attempt on record/, 'none of them is taken for lost');
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
my $reader = ProvconnNode::session($standby);
my $flying = ProvconnNode::session($primary, application_name => 'flying');
$flying->must($_) for ('BEGIN', 'SELECT ok FROM provconn_reveal(' . ProvconnWorker::user(1) . ", '$ids[1]', 'in flight')");
ok(ProvconnNode::wait_until(sub { $admin->value('SELECT count(*) FROM provconn.seal') > 0 }, 10), 'the primary seals');
$primary->wait_for_catchup($standby);
is($reader->value(q(SELECT string_agg(backend_type, ' ') FROM pg_stat_activity WHERE backend_type LIKE 'provconn%')), 'provconn launcher', 'on a standby there is no worker');
is($reader->value(q(SELECT restart_lsn <= pg_last_wal_replay_lsn() FROM pg_replication_slots WHERE slot_name = 'provconn_reads')), 't', 'but a slot');
is($reader->query("SELECT ok FROM provconn_rename(" . ProvconnWorker::user(1) . ", '$ids[1]', 'x')")->{error}{C}, '25006', 'it takes no commands');
is($reader->value('SELECT count(*) FROM provconn_connections'), '5', 'but can be read');
$primary->stop('immediate');
$standby->promote;
ProvconnNode::session($standby)->query('CHECKPOINT; SELECT pg_switch_wal(); CHECKPOINT') for 1 .. 3;
ok(ProvconnNode::wait_until(sub { $reader->value('SELECT pg_is_in_recovery()') eq 'f' }), 'it is promoted');
ok(ProvconnWorker::settle($reader), 'a worker comes');
is($reader->value(q(SELECT string_agg(concat_ws(' ', action, outcome, reason), ',') FROM provconn_audit_log WHERE application_name = 'flying')), 'reveal rolled_back in flight',
	'what the primary had revealed as it crashed is on record');
my $seals = $reader->value('SELECT count(*) FROM provconn.seal');
$reader->must("SELECT ok FROM provconn_rename(" . ProvconnWorker::user(1) . ", '$ids[1]', 'x')");
ok(ProvconnNode::wait_until(sub { $reader->value('SELECT count(*) FROM provconn.seal') > $seals }, 10), 'it seals');
is($reader->value('SELECT count(*) FROM provconn_verify_audit()'), '0', 'all of it verifies');
is($reader->value(q(SELECT active FROM pg_replication_slots WHERE slot_name = 'provconn_reads')), 't', 'it has a slot of its own');
$standby->stop;

done_testing();
