# What leaks where: the table in doc/security.md, as a test.
#
# Each row is a way out of the server, each column a way in for the secret; each
# cell has a canary of its own.  A cell that says "leak" is as much a fact to be
# kept as one that says "clean": who reads the table relies on both.
#
# Columns:
#   literal     in the text of the SQL statement
#   untyped     bound to $1 without a type: the server makes it provconn_secret
#   secret      bound as provconn_secret, as text
#   binary      bound as provconn_secret, in binary
#   text        bound as text (JDBC's setString and the like)
#   bytea       bound as bytea, in binary

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use ProvconnNode;
use ProvconnCanary;
use Test::More;

my @columns = qw(literal untyped secret binary text bytea);
my $node = ProvconnNode::make(
	'main',
	conf => q(
shared_preload_libraries = 'auto_explain,pg_stat_statements'
pg_stat_statements.track = all
auto_explain.log_analyze = on
auto_explain.log_verbose = on
auto_explain.log_nested_statements = on
log_statement = none
log_error_verbosity = verbose
deadlock_timeout = 50ms
restart_after_crash = on
track_activity_query_size = 16kB
));
my $canaries = ProvconnCanary->new;
my $user     = q('00000000-0000-4000-8000-000000000001');
my $provider = q('00000000-0000-4000-8000-0000000000aa');
my $admin    = ProvconnNode::session($node);
my $version  = $admin->value('SHOW server_version_num');

$admin->must('CREATE EXTENSION pg_stat_statements');
$admin->must(qq(SELECT provconn_register_provider('acme', 'Acme', 'custom', NULL, $provider)));

my $oid = $admin->value(q(SELECT 'provconn_secret'::regtype::oid));
my %bind = (
	untyped => sub { [ 0,    0, $_[0] ] },
	secret  => sub { [ $oid, 0, $_[0] ] },
	binary  => sub { [ $oid, 1, $_[0] ] },
	text    => sub { [ 25,   0, $_[0] ] },
	bytea   => sub { [ 17,   1, $_[0] ] });

# A connect whose credentials are %s.
my $connect = "SELECT status FROM provconn_connect(provconn_connect_command("
  . "$user, $provider, 'acme', provconn_credentials(%s, 'custom')))";

# Sends a statement that has %s where the secret belongs.
sub send_secret
{
	my ($session, $column, $sql, $secret) = @_;

	return $session->start_query(sprintf($sql, "'$secret'"))
	  if $column eq 'literal';
	return $session->start_bound(sprintf($sql, '$1'), $bind{$column}->($secret));
}

# One row: %expected names what leaks, all else is clean.  $run gets a session, the
# column and the secret, and returns texts by place; the log is searched anyway.
sub row
{
	my ($name, $leaks, $run, %opt) = @_;
	my %leaks = map { $_ => 1 } @$leaks;
	my @place = ($opt{place} || 'log');

	for my $column (@{ $opt{columns} || \@columns })
	{
		my $canary = $canaries->hatch("$name, $column", $leaks{$column} ? @place : ());
		my $session = ProvconnNode::session($node);
		my $size = ProvconnNode::log_size($node);
		my $seen;

		$session->must($_) for @{ $opt{settings} || [] };
		$seen = $run->($session, $column, $canary);
		$session->close;
		if ($opt{place})
		{
			$canaries->search_text($opt{place}, \$seen);
		}
		else
		{
			my $log = ProvconnNode::log_since($node, $size);

			$canaries->search_text('log', \$log);
		}
	}
	return;
}

# The statement's own result is no channel; it must just have succeeded, or failed
# with this SQLSTATE.
sub run
{
	my ($sql, $sqlstate) = @_;

	return sub {
		my ($session, $column, $secret) = @_;

		send_secret($session, $column, $sql, $secret);
		my $result = $session->finish;
		my $state = $result->{error} ? $result->{error}{C} : '00000';

		is($state, $sqlstate || '00000', "outcome of $sql, $column")
		  or diag(explain($result));
		return;
	};
}

# The server's log.

row('no logging at all', [], run($connect));
row('log_statement', [ 'literal', 'text', 'bytea' ],
	run($connect), settings => ["SET log_statement = 'all'"]);
row('log_min_duration_statement', [ 'literal', 'text', 'bytea' ],
	run($connect), settings => ['SET log_min_duration_statement = 0']);
row('log_statement without parameters', ['literal'],
	run($connect),
	settings => [ "SET log_statement = 'all'", 'SET log_parameter_max_length = 0' ]);

# An error of somebody else's while a secret is under way has the statement in
# its log entry; an error of provconn's does not, nor has it a context.
my $division = "$connect WHERE 1 / (SELECT 0 FROM pg_class WHERE relname = 'pg_class') = 1";
my $refusal = "SELECT provconn_unwrap(provconn_connect(provconn_connect_command("
  . "$user, $provider, 'wrong', provconn_credentials(%s, 'custom'))))";
my @everything = (
	"SET log_statement = 'none'",
	'SET log_parameter_max_length_on_error = -1',
	'SET log_min_error_statement = debug5');

row('STATEMENT of a foreign error', [], run($division, '22012'));
row('STATEMENT and parameters of a foreign error',
	[ 'text', 'bytea' ],
	run($division, '22012'), settings => \@everything);
row('a refusal raised by provconn_unwrap', [], run($refusal, 'PV003'));
row('a refusal, with parameters on error', [], run($refusal, 'PV003'), settings => \@everything);
row('a fault of provconn', [],
	run($connect, 'PV101'), settings => [ @everything, "SET provconn.key_file = '/nonexistent'" ]);
row('a fault of a constructor', [],
	run('SELECT provconn_token_response(%s)', '22023'), settings => \@everything);

# Text that is no composite is in the message of PostgreSQL's own error.
row('a malformed composite',
	[qw(literal)],
	sub {
		my ($session, $column, $secret) = @_;

		is($session->query("SELECT CAST('($secret' AS provconn_credentials)")->{error}{C},
			'22P02', 'malformed literal');
		return;
	},
	columns => ['literal']);
row('a malformed composite as a parameter',
	[qw(untyped)],
	sub {
		my ($session, $column, $secret) = @_;

		is($session->bound('SELECT CAST($1 AS provconn_credentials)', [ 0, 0, "($secret" ])->{error}{C},
			'22P02', 'malformed parameter');
		return;
	},
	columns => ['untyped']);
row('a composite as a parameter',
	[],
	sub {
		my ($session, $column, $secret) = @_;
		my $result = $session->bound(
			"SELECT ok FROM provconn_connect(provconn_connect_command($user, $provider, 'acme', \$1))",
			[ 0, 0, "($secret,custom,)" ]);

		is($result->{rows}[0][0], 't', 'composite parameter');
		return;
	},
	columns  => ['untyped'],
	settings => [ "SET log_statement = 'all'", 'SET log_min_duration_statement = 0' ]);

# auto_explain: since PostgreSQL 16 it logs the parameters, too.
row('auto_explain',
	[ 'literal', $version >= 160000 ? ('text', 'bytea') : () ],
	run($connect), settings => ['SET auto_explain.log_min_duration = 0']);
row('auto_explain of a statement inside a command, with parameters on error',
	[ 'literal', 'text', 'bytea' ],
	run($connect),
	settings => [ 'SET auto_explain.log_min_duration = 0', 'SET log_parameter_max_length_on_error = -1' ]);
row('EXPLAIN VERBOSE', [],
	sub {
		my ($session, $column, $secret) = @_;

		send_secret($session, $column, "EXPLAIN (VERBOSE, COSTS OFF) $connect", $secret);
		my $result = $session->finish;

		like($result->{rows}[0][0], qr/provconn_connect/, "EXPLAIN, $column");
		return join("\n", map { $_->[0] } @{ $result->{rows} });
	},
	place => 'explain');

# A wrapper that takes text, and one that takes provconn_secret.
for my $type ('text', 'provconn_secret')
{
	my $name = "wrapper_$type";

	$admin->must(
		"CREATE FUNCTION $name(secret $type) RETURNS boolean LANGUAGE plpgsql AS \$\$
BEGIN
	RETURN ok FROM provconn_connect(provconn_connect_command(
		$user, $provider, 'acme', provconn_credentials(secret, 'custom')));
END \$\$");
}
row('a wrapper that takes text', [ 'literal', 'untyped', 'text' ],
	run('SELECT wrapper_text(%s)'),
	columns  => [qw(literal untyped text)],
	settings => ["SET log_statement = 'all'"]);
row('a wrapper that takes provconn_secret', [ 'literal', 'text', 'bytea' ],
	run('SELECT wrapper_provconn_secret(%s)'), settings => ["SET log_statement = 'all'"]);
row('JSON', [ 'literal', 'text' ],
	sub {
		my ($session, $column, $secret) = @_;
		my $sql = "SELECT ok FROM provconn_connect(provconn_connect_command($user, $provider, 'acme',"
		  . ' provconn_token_response(%s)))';
		my $json = qq({"access_token":"$secret"});

		$session->query(sprintf($sql, "'$json'::json")) if $column eq 'literal';
		$session->bound(sprintf($sql, '$1'), [ 0,   0, $json ]) if $column eq 'untyped';
		$session->bound(sprintf($sql, '$1'), [ 114, 0, $json ]) if $column eq 'text';
		return;
	},
	columns  => [qw(literal untyped text)],
	settings => ["SET log_statement = 'all'"]);

# Views of the server.

row('pg_stat_activity', [],
	sub {
		my ($session, $column, $secret) = @_;

		send_secret($session, $column, $connect, $secret);
		$session->finish;
		return $admin->value(
			'SELECT string_agg(a::text, E\'\n\') FROM pg_stat_activity AS a WHERE pid <> pg_backend_pid()');
	},
	place => 'activity');

my $statements = 'SELECT string_agg(query, E\'\n\') FROM pg_stat_statements';
row('pg_stat_statements', [],
	sub {
		my ($session, $column, $secret) = @_;

		$admin->must('SELECT pg_stat_statements_reset()');
		send_secret($session, $column, $connect, $secret);
		$session->finish;
		return $admin->value($statements);
	},
	place => 'statements');
row('pg_stat_statements, a DO block', ['literal'],
	sub {
		my ($session, $column, $secret) = @_;

		$session->must(sprintf("DO \$\$BEGIN PERFORM * FROM (%s) AS c; END\$\$", sprintf($connect, "'$secret'")));
		return $admin->value($statements);
	},
	place   => 'statements',
	columns => ['literal']);

# Two sessions in a deadlock: the log shows what each of them was running.
$admin->must('CREATE TABLE lock (id int PRIMARY KEY); INSERT INTO lock VALUES (1), (2)');
row('the DETAIL of a deadlock', [],
	sub {
		my ($session, $column, $secret) = @_;
		my $other = ProvconnNode::session($node);

		$session->must('BEGIN; SELECT FROM lock WHERE id = 1 FOR UPDATE');
		$other->must('BEGIN; SELECT FROM lock WHERE id = 2 FOR UPDATE');
		send_secret($session, $column,
			"$connect UNION ALL SELECT 'active' FROM (SELECT FROM lock WHERE id = 2 FOR UPDATE) AS l", $secret);
		ProvconnNode::wait_until(
			sub { $admin->value('SELECT count(*) FROM pg_locks WHERE NOT granted') > 0 });
		my $deadlocked = $other->query('SELECT FROM lock WHERE id = 1 FOR UPDATE');
		$other->query('ROLLBACK');
		my $result = $session->finish;
		$session->query('ROLLBACK');
		$other->close;
		ok(($deadlocked->{error} || $result->{error})->{C} eq '40P01', "deadlock, $column");
		return;
	},
	columns => [ 'literal', 'untyped' ]);

# Files of a query that sorts secrets on disk.
row('temporary files', [],
	sub {
		my ($session, $column, $secret) = @_;
		my $found = '';

		$session->must("SET work_mem = '64kB'");
		$session->must('BEGIN');
		my $sql = 'SELECT count(*) FROM (SELECT n, s FROM (SELECT n, CAST(%s AS provconn_secret) AS s FROM generate_series(1, 20000) AS n OFFSET 0) AS a'
		  . ' ORDER BY (n * 7919) %% 20011 OFFSET 0) AS b WHERE s IS NOT NULL AND (n <> 1 OR pg_sleep(0.5) IS NOT NULL)';
		send_secret($session, $column, $sql, $secret);
		while (!$session->is_ready)
		{
			$found .= slurp($_) for glob($node->data_dir . '/base/pgsql_tmp/*');
			select(undef, undef, undef, 0.05);
		}
		$session->finish;
		$session->query('ROLLBACK');

		# the files change while they are read: what looks like another canary is none
		return index($found, $secret) < 0 ? '' : $secret;
	},
	place => 'temporary');

# A backend that dies: the postmaster logs what it was running.  Last, since it
# ends every session.
row('a crash', [],
	sub {
		my ($session, $column, $secret) = @_;

		send_secret($session, $column, "$connect AS c, pg_sleep(60)", $secret);
		my $watch = ProvconnNode::session($node);
		ProvconnNode::wait_until(
			sub {
				$watch->value(q(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep')) > 0;
			});
		kill 'SEGV', $session->pid;
		eval { $session->finish };
		eval { $watch->query('SELECT pg_sleep(60)') };    # until it is ended
		ok(ProvconnNode::wait_until(
				sub {
					eval { ProvconnNode::session($node)->value('SELECT 1') };
				}),
			"the server is back, $column");
		return;
	},
	columns => [ 'literal', 'untyped' ]);

my @complaints = $canaries->complaints;
is(scalar @complaints, 0, 'the table holds') or diag(join("\n", @complaints));
cmp_ok($canaries->count, '>', 90, 'it has all its cells');

done_testing();

sub slurp
{
	my ($path) = @_;

	open(my $file, '<:raw', $path) or return '';
	local $/;
	my $text = <$file>;
	close($file);
	return defined $text ? $text : '';
}
