# The background worker: whatever is rolled back is on record, once, however it
# came about; and what the launcher and its workers do otherwise.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use ProvconnNode;
use ProvconnWorker;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = ProvconnWorker::make('main', conf => <<'CONF');
max_prepared_transactions = 5
deadlock_timeout = '50ms'
restart_after_crash = on
provconn.seal_interval = 0
CONF
my $admin = ProvconnNode::session($node);
my @ids = ('', ProvconnWorker::connect_some($admin, 40));

$admin->must($_)
  for (
	"SELECT provconn_connect(provconn_connect_command(md5('due' || n)::uuid, " . ProvconnWorker::PROVIDER . ", 'acme', provconn_oauth2_credentials('a', 'r', now()))) FROM generate_series(1, 2) AS n",
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

	return "SELECT * FROM provconn_refresh(provconn_refresh_command('$ids[$n]', provconn_credentials('new', 'custom', now())))";
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
		"SELECT ok FROM provconn_refresh_batch(ARRAY(SELECT provconn_refresh_command(c, provconn_credentials('new', 'custom', now())) FROM unnest(ARRAY['$ids[6]', gen_random_uuid(), '$ids[7]']::uuid[]) AS c))",
		'ROLLBACK'
	],
	[ 'claim', 'claim_due rolled_back, claim_due rolled_back', 'BEGIN', q(SELECT * FROM provconn_claim_due('w', max_connections => 2)), 'ROLLBACK' ],
	[ 'timeout', 'refresh rolled_back', 'BEGIN', "SET LOCAL statement_timeout = '100ms'", refresh(8), 'SELECT pg_sleep(60)', '57014', 'ROLLBACK' ],
	[   'timeout inside', 'refresh rolled_back', "SET statement_timeout = '100ms'",
		'SELECT pg_sleep(60) FROM provconn_refresh(' . "provconn_refresh_command('$ids[8]', provconn_credentials('new', 'custom', now())))", '57014'
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

done_testing();
