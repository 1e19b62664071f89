# The background worker: whatever is rolled back is on record, once, however it
# came about; and what the launcher and its workers do otherwise.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use ProvconnNode;
use ProvconnQueue;
use ProvconnWorker;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = ProvconnWorker::make('main', init => { allows_streaming => 1 }, conf => <<'CONF');
max_prepared_transactions = 5
max_connections = 30
max_wal_size = '64MB'
deadlock_timeout = '50ms'
restart_after_crash = on
provconn.seal_interval = 0
CONF
my $admin = ProvconnNode::session($node);
my @ids = ('', ProvconnWorker::connect_some($admin, 40));

$admin->must($_)
  for (
	"SELECT provconn_connect(provconn_connect_command(md5('due' || n)::uuid, " . ProvconnWorker::PROVIDER . ", 'acme', provconn_oauth2_credentials('a', 'r', now() + interval '1 minute'))) FROM generate_series(1, 6) AS n",
	'CREATE ROLE app LOGIN', 'CREATE ROLE hat', 'GRANT hat TO app',
	map({ ("SELECT provconn_grant('$_', 'application')", "SELECT provconn_grant('$_', 'secrets')", "SELECT provconn_grant('$_', 'worker')") } qw(app hat)));

sub reveal
{
	my ($n, $purpose) = @_;

	return 'SELECT secret_text FROM provconn_reveal(' . ProvconnWorker::user($n) . ", '$ids[$n]', '$purpose')";
}

sub rename_to
{
	my ($n, $alias) = @_;

	return 'SELECT ok FROM provconn_rename(' . ProvconnWorker::user($n) . ", '$ids[$n]', '$alias')";
}

sub refresh
{
	my ($n) = @_;

	return "SELECT * FROM provconn_refresh(provconn_refresh_command('$ids[$n]', provconn_credentials('new', 'custom')))";
}

# What a session of that application_name has on record.
sub recorded
{
	my ($name, $what) = @_;

	$what //= q(concat_ws(' ', action, outcome, error_code));
	return join(', ', map { $_->[0] } @{ $admin->must("SELECT $what FROM provconn_audit_log WHERE application_name = '$name' ORDER BY occurred_at, action, error_code NULLS FIRST, audit_id")->{rows} });
}

# --- all the ways to roll back ------------------------------------------------

# [name, what is on record, statements ...]; a number stands for the SQLSTATE that the
# statement before it fails with.
my @cases = (
	[ 'committed', 'reveal succeeded, rename succeeded', 'BEGIN', reveal(1, 'x'), rename_to(1, 'one'), 'COMMIT' ],
	[ 'rollback', 'reveal rolled_back, rename rolled_back', 'BEGIN', reveal(1, 'x'), rename_to(1, 'two'), 'ROLLBACK' ],
	[ 'later error', 'refresh rolled_back', 'BEGIN', refresh(1), 'SELECT 1/0', '22012', 'COMMIT' ],
	[ 'own statement', 'refresh rolled_back', 'SELECT 1 / (version - version) FROM (' . refresh(1) . ') AS r', '22012' ],
	[   'savepoint', 'rename succeeded, reveal rolled_back, refresh succeeded',
		'BEGIN', rename_to(2, 'two'), 'SAVEPOINT a', reveal(2, 'x'), 'ROLLBACK TO a', refresh(2), 'COMMIT'
	],
	[   'released', 'rename rolled_back, reveal rolled_back, refresh rolled_back',
		'BEGIN', rename_to(3, 'three'), 'SAVEPOINT a', reveal(3, 'x'), 'SAVEPOINT b', refresh(3), 'RELEASE b', 'RELEASE a', 'ROLLBACK'
	],
	[   'released in the middle', 'rename succeeded, reveal rolled_back, refresh rolled_back, reveal succeeded',
		'BEGIN', rename_to(3, 'three'), 'SAVEPOINT a', reveal(3, 'x'), 'SAVEPOINT b', refresh(3), 'RELEASE b', 'ROLLBACK TO a', reveal(3, 'y'), 'COMMIT'
	],
	[   'exception block', 'reveal rolled_back, rename succeeded',
		'DO $$BEGIN BEGIN PERFORM provconn_reveal(' . ProvconnWorker::user(4) . ", '$ids[4]'); RAISE 'no'; EXCEPTION WHEN OTHERS THEN NULL; END;"
		  . ' PERFORM provconn_rename(' . ProvconnWorker::user(4) . ", '$ids[4]', 'four'); END\$\$"
	],
	[   'unwrap', 'disconnect rolled_back connection_not_found',
		'SELECT provconn_unwrap(provconn_disconnect(provconn_disconnect_command(' . ProvconnWorker::user(5) . ', gen_random_uuid())))', 'PV010'
	],
	[ 'refusal', 'reveal rolled_back not_owned_by_user', 'BEGIN', "SELECT ok FROM provconn_reveal(gen_random_uuid(), '$ids[5]')", 'ROLLBACK' ],
	[   'batch', 'refresh_batch rolled_back, refresh_batch rolled_back, refresh_batch rolled_back connection_not_found',
		'BEGIN',
		"SELECT ok FROM provconn_refresh_batch(ARRAY(SELECT provconn_refresh_command(c, provconn_credentials('new', 'custom')) FROM unnest(ARRAY['$ids[6]', gen_random_uuid(), '$ids[7]']::uuid[]) AS c))",
		'ROLLBACK'
	],
	[ 'claim', 'claim_due rolled_back, claim_due rolled_back', 'BEGIN', q(SELECT * FROM provconn_claim_due('w', max_connections => 2)), 'ROLLBACK' ],
	[ 'timeout', 'refresh rolled_back', 'BEGIN', "SET LOCAL statement_timeout = '100ms'", refresh(8), 'SELECT pg_sleep(60)', '57014', 'ROLLBACK' ],
	[   'timeout inside', 'refresh rolled_back', "SET statement_timeout = '100ms'",
		'SELECT pg_sleep(60) FROM provconn_refresh(' . "provconn_refresh_command('$ids[8]', provconn_credentials('new', 'custom')))", '57014'
	],
	[ 'prepared and rolled back', 'reveal rolled_back, refresh rolled_back', 'BEGIN', reveal(9, 'x'), refresh(9), q(PREPARE TRANSACTION 'a'), q(ROLLBACK PREPARED 'a') ],
	[ 'prepared and committed', 'reveal succeeded, refresh succeeded', 'BEGIN', reveal(9, 'x'), refresh(9), q(PREPARE TRANSACTION 'a'), q(COMMIT PREPARED 'a') ],
	[   'prepared in part', 'reveal rolled_back, refresh succeeded',
		'BEGIN', 'SAVEPOINT a', reveal(9, 'x'), 'ROLLBACK TO a', refresh(9), q(PREPARE TRANSACTION 'a'), q(COMMIT PREPARED 'a')
	],
	[ 'direct', 'direct rolled_back, direct rolled_back', 'BEGIN', "UPDATE provconn.connection SET alias = alias || ' (direct)' WHERE connection_id IN ('$ids[10]', '$ids[11]')", 'ROLLBACK' ],
	[ 'erase', 'erase_user rolled_back', 'BEGIN', 'SELECT provconn_erase_user(gen_random_uuid())', 'ROLLBACK' ],
	[ 'constraint', 'reveal rolled_back', 'CREATE TABLE later (i int UNIQUE DEFERRABLE INITIALLY DEFERRED)', 'BEGIN', 'INSERT INTO later VALUES (1), (1)', reveal(12, 'x'), 'COMMIT', '23505' ],
	[ 'nothing to it', 'refresh rolled_back 40001', 'BEGIN ISOLATION LEVEL REPEATABLE READ', 'SELECT 1', \'SELECT ok FROM provconn_refresh(provconn_refresh_command(\'%s\', provconn_credentials(\'other\', \'custom\', now())))', refresh(13), '40001', 'ROLLBACK' ],
	[ 'no key', 'connect rolled_back PV101', q(SET provconn.key_file = '/nonexistent/key'), 'SELECT ok FROM provconn_connect(provconn_connect_command(gen_random_uuid(), ' . ProvconnWorker::PROVIDER . ", 'acme', provconn_credentials('x', 'custom'), 'a'))", 'PV101' ],
);
my %xid;

for my $case (@cases)
{
	my ($name, $expected, @statements) = @$case;
	my $session = ProvconnNode::session($node, application_name => $name);

	while (@statements)
	{
		my $statement = shift @statements;

		if (ref $statement)
		{
			$admin->must(sprintf($$statement, $ids[13]));
			next;
		}
		my $code = @statements && $statements[0] =~ /^[0-9P][0-9A-Z]{4}$/ ? shift @statements : undef;
		my $error = $session->query($statement)->{error};

		is($error ? $error->{C} : undef, $code, "$name: " . substr($statement, 0, 30)) if $code || $error;
		$xid{$name} = $session->value('SELECT pg_current_xact_id()') if $statement =~ /^BEGIN$/;
	}
	$session->close;
}
ok(ProvconnWorker::settle($admin), 'the worker comes to them');
# What was prepared takes it a while longer.
ok(ProvconnNode::wait_until(sub { recorded('prepared and rolled back') ne '' }, 20), 'and to what was prepared');
is(recorded($_->[0]), $_->[1], "on record: $_->[0]") for @cases;
is(recorded($_, 'transaction_id') =~ s/^(\d+)(, \1)+$/$1/r, $xid{$_}, "of its own transaction: $_")
  for ('rollback', 'savepoint', 'released', 'prepared and rolled back', 'prepared and committed');

# --- with another session -------------------------------------------------------

sub begin
{
	my ($name, @statements) = @_;
	my $session = ProvconnNode::session($node, application_name => $name);

	$session->must($_) for ('BEGIN', @statements);
	return $session;
}

my $session = begin('cancelled', refresh(14));
$session->start_query('SELECT pg_sleep(60)');
ok(ProvconnNode::wait_until(sub { $admin->value('SELECT count(*) FROM pg_stat_activity WHERE wait_event = $$PgSleep$$ AND pid = ' . $session->pid) }), 'it sleeps');
$session->cancel;
is($session->finish->{error}{C}, '57014', 'a cancelled statement');
$session->close;

$session = begin('terminated', refresh(15));
$admin->must('SELECT pg_terminate_backend(' . $session->pid . ')');
begin('disconnected', refresh(16))->close;

my @rivals = (begin('rival', rename_to(17, 'a')), begin('rival', rename_to(18, 'b')));
$rivals[0]->start_query(rename_to(18, 'c'));
$rivals[1]->start_query(rename_to(17, 'd'));
is(join(' ', sort map { $_->finish->{error}{C} // '' } @rivals), ' 40P01', 'a deadlock');
$_->must('COMMIT') for @rivals;

$session = ProvconnNode::session($node, application_name => 'roles', user => 'app');
$session->must($_) for ('BEGIN', reveal(19, 'as app'), 'SET ROLE hat', reveal(19, 'as hat'), 'ROLLBACK');

$session = ProvconnNode::session($node, application_name => 'thousand');
$session->must($_)
  for ('BEGIN', 'SELECT count(*) FROM generate_series(1, 1000) AS n, provconn_rename(' . ProvconnWorker::user(20) . ", '$ids[20]', 'a' || n)", 'ROLLBACK');
$session->must($_)
  for ('BEGIN', 'DO $$BEGIN FOR n IN 1..1000 LOOP BEGIN PERFORM provconn_rename(' . ProvconnWorker::user(20) . ", '$ids[20]', 'b' || n); EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END\$\$", 'ROLLBACK');

ok(ProvconnWorker::settle($admin), 'the worker comes to these, too');
is(recorded('cancelled'), 'refresh rolled_back', 'on record: cancelled');
is(recorded('terminated'), 'refresh rolled_back', 'on record: terminated');
is(recorded('disconnected'), 'refresh rolled_back', 'on record: disconnected');
is($admin->value(q(SELECT string_agg(concat_ws(' ', action, outcome, error_code), ', ' ORDER BY outcome, error_code NULLS FIRST) FROM provconn_audit_log WHERE application_name = 'rival')),
	'rename rolled_back, rename rolled_back 40P01, rename succeeded, rename succeeded', 'on record: deadlock');
is(recorded('roles', q(concat_ws(' ', session_role, caller_role, reason, outcome))), 'app app as app rolled_back, app hat as hat rolled_back', 'on record: roles and reason');
is($admin->value(q(SELECT concat_ws(' ', count(*), count(DISTINCT audit_id), min(outcome), max(outcome), count(DISTINCT transaction_id), min(version)) FROM provconn_audit_log WHERE application_name = 'thousand')),
	'2000 2000 rolled_back rolled_back 2 1', 'on record: two thousand');
is($admin->value('SELECT count(*) FROM provconn_verify_audit()'), '0', 'all of it verifies');

# --- a worker that is killed ------------------------------------------------------

sub worker_pid { return $admin->value(q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'provconn worker')); }

# Commands of each kind, until told to stop; the number of those rolled back.
sub roll_back_while
{
	my ($name, $busy) = @_;
	my $client = ProvconnNode::session($node, application_name => $name);
	my $missing = ProvconnNode::session($node, application_name => $name);
	my $count = 0;

	$missing->must(q(SET provconn.key_file = '/nonexistent/key'));
	while ($busy->())
	{
		$client->must($_) for ('BEGIN', "SELECT count(*) FROM generate_series(1, 50) AS n, provconn_rename(" . ProvconnWorker::user(21) . ", '$ids[21]', 'c' || n)", 'ROLLBACK');
		$missing->query("SELECT provconn_connect(provconn_connect_command(gen_random_uuid(), " . ProvconnWorker::PROVIDER . ", 'acme', provconn_credentials('x', 'custom')))");
		$count += 51;
		# Faster than the worker, and not so fast that there is no room.
		select(undef, undef, undef, 0.005);
	}
	$_->close for ($client, $missing);
	return $count;
}

# With the ring never empty, a worker has to leave for the audit to be sealed.
$admin->must($_) for ('ALTER SYSTEM SET provconn.seal_interval = 1', 'SELECT pg_reload_conf()');
my $seals = $admin->value('SELECT count(*) FROM provconn.seal');
my $until = time + 4;
my $count = roll_back_while('killed', sub { return time < $until; });
cmp_ok($admin->value('SELECT count(*) FROM provconn.seal'), '>=', $seals + 2, 'the audit is sealed while there always is more');
my $killed = 0;
my $rounds = 0;
$count += roll_back_while('killed', sub {
	my $pid = $killed ? undef : worker_pid();

	$killed++ if $pid && $admin->value("SELECT pg_terminate_backend($pid)") eq 't';
	return $rounds++ < 20;
});
is($killed, 1, 'a worker is killed');
ok(ProvconnWorker::settle($admin), 'another worker comes');
is($admin->value(q(SELECT count(*) FROM provconn_audit_log WHERE application_name = 'killed')), $count, "all $count are on record, once");

is($admin->value(q(SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'provconn launcher')), '1', 'the launcher is killed');
$count = roll_back_while('no launcher', sub { return $rounds++ % 3 });
ok(ProvconnWorker::settle($admin), 'another launcher comes');
is($admin->value(q(SELECT count(*) FROM provconn_audit_log WHERE application_name = 'no launcher')), $count, "all $count are on record");

# What is set for all sessions does not stop it.
$admin->must("ALTER DATABASE postgres SET $_") for ('lock_timeout = 1', 'default_transaction_read_only = on', q(default_transaction_isolation = 'serializable'), 'statement_timeout = 1');
ok(ProvconnNode::wait_until(sub { !worker_pid() }, 10), 'the worker leaves');
$seals = $admin->value('SELECT count(*) FROM provconn.seal');
ok(ProvconnWorker::settle($admin), 'a worker works with any settings');
ok(ProvconnNode::wait_until(sub { $admin->value('SELECT count(*) FROM provconn.seal') > $seals }, 10), 'and seals');
$admin->must("ALTER DATABASE postgres RESET ALL");
$admin->must($_) for ('ALTER SYSTEM SET provconn.seal_interval = 0', 'SELECT pg_reload_conf()');

# --- a crash --------------------------------------------------------------------

sub slot { return $admin->value(q(SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 'provconn_reads')); }

# Reveals that were under way, and one that had committed, though not to the disk.
my $before = begin('crash', reveal(22, 'before a checkpoint'));
my $prepared = begin('crash', reveal(23, 'prepared'), q(PREPARE TRANSACTION 'p'));
my $claim = begin('crash', q(SELECT * FROM provconn_claim_due('crash', max_connections => 1)));
for (1 .. 6)
{
	$admin->must($_) for ('CREATE TABLE IF NOT EXISTS filler AS SELECT repeat(md5(i::text), 30) FROM generate_series(1, 5000) AS i', 'DROP TABLE filler', 'SELECT pg_switch_wal()', 'CHECKPOINT');
}
my $lsn = slot();
my $after = begin('crash', reveal(24, 'after a checkpoint'), 'SAVEPOINT a', reveal(24, 'in a savepoint'));
my $partly = begin('crash', 'SAVEPOINT a', reveal(25, 'a savepoint rolled back'), 'ROLLBACK TO a', reveal(25, 'after it'));
my $lazy = ProvconnNode::session($node, application_name => 'crash');
$lazy->must($_) for ('SET synchronous_commit = off', reveal(26, 'committed'));
$admin = ProvconnWorker::crash($node, $before);

sub crash_record
{
	return $admin->value(q(SELECT string_agg(concat_ws(' ', coalesce(reason, action), outcome), ', ' ORDER BY coalesce(reason, action) COLLATE "C") FROM provconn_audit_log
		WHERE application_name = 'crash' AND reason IS DISTINCT FROM 'committed'));
}
ok(ProvconnWorker::settle($admin), 'a worker comes after the crash');
is(crash_record(), 'a savepoint rolled back rolled_back, after a checkpoint rolled_back, after it rolled_back,'
	. ' before a checkpoint rolled_back, crash rolled_back, in a savepoint rolled_back', 'all reveals that it ended are on record');
is($admin->value(q(SELECT count(*) FROM provconn_audit_log WHERE application_name = 'crash' AND reason = 'committed')), '1', 'and the one that had committed');
$admin->must(q(ROLLBACK PREPARED 'p'));
ok(ProvconnWorker::settle($admin), 'a worker comes to what was prepared');
like(crash_record(), qr/prepared rolled_back/, 'which is on record as it is rolled back');
my $record = crash_record();
$node->restart;
$admin = ProvconnNode::session($node);
ok(ProvconnWorker::settle($admin), 'a worker comes after a restart');
is(crash_record(), $record, 'nothing is told twice');
# Every role may write messages to the WAL, but not sign them.
my $forged = begin('forged', reveal(21, 'real'));
my $audit_id = pack('H*', $forged->value(q(SELECT translate(audit_id::text, '-', '') FROM provconn_audit_log WHERE reason = 'real')));
(my $other_id = $audit_id) =~ s/(.)\z/chr(ord($1) ^ 1)/se;
my $message = message_of('real');
isnt($message, '', 'the WAL has the message of a reveal');
for my $forgery ($message, substr($message, 0, 100), 'x', '')
{
	(my $changed = $forgery) =~ s/real/fake/;
	$changed =~ s/\Q$audit_id\E/$other_id/;
	$admin->must("SELECT pg_logical_emit_message(false, 'provconn', '\\x" . unpack('H*', $changed) . "'::bytea)");
}
$admin->must('SELECT pg_switch_wal()');
$admin = ProvconnWorker::crash($node, $forged);
ok(ProvconnWorker::settle($admin), 'a worker comes to forged messages');
is($admin->value("SELECT string_agg(concat_ws(' ', reason, outcome), ', ') FROM provconn_audit_log WHERE reason IN ('real', 'fake')"), 'real rolled_back', 'none of them is on record');
is($admin->value('SELECT count(*) FROM provconn_verify_audit()'), '0', 'and all verifies');

# A clean stop ends transactions, too; what is not on record by then is taken along.
my $stopped = begin('stop', rename_to(28, 'under way'));
my $kept = begin('stop', rename_to(29, 'prepared'), q(PREPARE TRANSACTION 'stop'));
$node->restart;
$admin = ProvconnNode::session($node);
$admin->must(q(ROLLBACK PREPARED 'stop'));
ok(ProvconnWorker::settle($admin), 'a worker comes after a clean stop');
is(recorded('stop'), 'rename rolled_back, rename rolled_back', 'what the stop rolled back is on record, and what was prepared before');
ok(!-e $node->data_dir . '/pg_stat/provconn_attempts', 'and in no file any more');
$admin = ProvconnWorker::crash($node, begin('crash', reveal(27, 'z')));
ok(ProvconnWorker::settle($admin), 'a worker comes after another crash');
is(crash_record(), "$record, z rolled_back", 'nothing is told twice');
ok(ProvconnNode::wait_until(sub { $admin->value("SELECT '" . slot() . "'::pg_lsn > '$lsn'") eq 't' }, 15), 'the slot goes on');
is($admin->value('SELECT count(*) FROM provconn_verify_audit()'), '0', 'all of it verifies');

# The bytes of the message that the WAL has of a reveal with this purpose.
sub message_of
{
	my ($purpose) = @_;

	for my $file (glob($node->data_dir . '/pg_wal/0*'))
	{
		my $wal = slurp_file($file);
		return $1 if $wal =~ /provconn\0(.{100,400}?\Q$purpose\E)/s;
	}
	return '';
}

# --- listeners, load, the slot ----------------------------------------------------

my $listener = ProvconnNode::session($node);
my $talker = ProvconnNode::session($node, application_name => 'talker');
$listener->must('LISTEN provconn');
$talker->must($_) for ('SET provconn.notify = on', 'BEGIN', rename_to(30, 'secret alias'));
is(scalar $listener->notifications, 0, 'nothing is told before the commit');
$talker->must('COMMIT');
my $id = $admin->value(q(SELECT audit_id FROM provconn_audit_log WHERE application_name = 'talker'));
is_deeply([ $listener->notifications ], [ [ 'provconn', qq({"audit_id": "$id", "connection_id": "$ids[30]"}) ] ], 'after it ids are told, and nothing else');
$admin->must($_) for ('ALTER SYSTEM SET provconn.notify = on', 'SELECT pg_reload_conf()');
ok(ProvconnNode::wait_until(sub { !worker_pid() }, 10), 'a worker leaves');
$talker->must($_) for ('BEGIN', rename_to(30, 'another'), 'ROLLBACK');
ok(ProvconnWorker::settle($admin), 'a worker comes');
$id = $admin->value(q(SELECT audit_id FROM provconn_audit_log WHERE application_name = 'talker' AND outcome = 'rolled_back'));
is((grep { $_->[1] eq qq({"audit_id": "$id", "connection_id": "$ids[30]"}) } $listener->notifications), 1, 'the worker tells, too');
$admin->must($_) for ('ALTER SYSTEM RESET provconn.notify', 'SELECT pg_reload_conf()');

my $dir = PostgreSQL::Test::Utils::tempdir();
my $each = ProvconnQueue::scaled(500);
my $size = ProvconnNode::log_size($node);
append_to_file("$dir/roll_back.sql", "BEGIN;\nSELECT ok FROM unnest('{" . join(',', @ids[31 .. 38]) . "}'::uuid[]) WITH ORDINALITY AS c(id, n)\n"
	  . " JOIN provconn_connections ON connection_id = id, provconn_rename(user_id, id, 'x') WHERE n = :client_id + 1;\nROLLBACK;\n");
$ENV{PGAPPNAME} = 'load';
command_ok([ 'pgbench', '-n', '-c', 8, '-j', 2, '-t', $each, '-f', "$dir/roll_back.sql", $node->connstr('postgres') ], 'eight clients roll back');
delete $ENV{PGAPPNAME};
ok(ProvconnWorker::settle($admin), 'the worker comes to the end of it');
my $lost = () = ProvconnNode::log_since($node, $size) =~ /could not put an attempt on record/g;
is($admin->value(q(SELECT count(*) FROM provconn_audit_log WHERE application_name = 'load' AND outcome = 'rolled_back')) + $lost, 8 * $each, 'each is on record or in the log');
is($lost, 0, 'none is in the log');

$admin->must($_) for ('ALTER SYSTEM SET provconn.keep_wal = off', 'SELECT pg_reload_conf()');
ok(ProvconnNode::wait_until(sub { !defined slot() }, 15), 'without provconn.keep_wal there is no slot');
$admin->must($_) for ('ALTER SYSTEM SET provconn.keep_wal = on', 'SELECT pg_reload_conf()');
ok(ProvconnNode::wait_until(sub { defined slot() }, 15), 'with it there is one again');

# --- without preloading --------------------------------------------------------------

$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
$admin = ProvconnNode::session($node);
$session = begin('not preloaded', reveal(39, 'x'), rename_to(39, 'rolled back'));
$session->must('ROLLBACK');
$session->must($_) for (reveal(39, 'y'), rename_to(39, 'kept'), 'SET provconn.notify = on', rename_to(39, 'told'), 'SELECT provconn_seal_audit()');
is(recorded('not preloaded'), 'reveal succeeded, rename succeeded, rename succeeded', 'what is committed is on record');
is($admin->value('SELECT max(attempts_lost) FROM provconn_stats'), '0', 'nothing is counted as lost');
is($admin->value('SELECT count(*) FROM provconn_verify_audit()'), '0', 'all of it verifies');
is($admin->value(q(SELECT active FROM pg_replication_slots WHERE slot_name = 'provconn_reads')), 'f', 'the slot is left to be dropped');
$admin->must(q(SELECT pg_drop_replication_slot('provconn_reads')));
unlike(ProvconnNode::log_since($node, 0), qr/TRAP:|PANIC:/, 'no assertion failed');
$node->stop;

done_testing();
