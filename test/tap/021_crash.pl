# Crashes: while clients give all commands that there are, a process of the server
# or the whole server is killed.  Whatever was acknowledged is on record, once;
# every secret that a client got has a row; connections, chains and seals agree.
#
# PROVCONN_TEST_SCALE (default 1) multiplies the number of rounds: at 20 there are
# 100.  PROVCONN_TEST_SEED repeats the choices of a run, though not its timing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use JSON::PP ();
use POSIX    ();
use ProvconnNode;
use ProvconnQueue;
use ProvconnWorker;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

use constant { CLIENTS => 6, CONNECTIONS => 40 };

my $seed = $ENV{PROVCONN_TEST_SEED} // time % 1000000;
my $rounds = ProvconnQueue::scaled(5);
# What is acknowledged has to be on disk.
my $node = ProvconnWorker::make('main', init => { allows_streaming => 1 }, conf => <<'CONF');
fsync = on
restart_after_crash = on
max_connections = 30
max_wal_size = '64MB'
checkpoint_timeout = '30s'
provconn.seal_interval = 1
provconn.reencrypt_delay = 0
CONF
my $dir = PostgreSQL::Test::Utils::tempdir();
my $admin = ProvconnNode::session($node);

diag("seed $seed");
srand($seed);
ProvconnWorker::connect_some($admin, CONNECTIONS);
$admin->must($_)
  for (
	'CREATE TABLE mine AS SELECT row_number() OVER (ORDER BY connection_id) AS n, user_id, connection_id FROM provconn_connections',
	'ALTER TABLE mine ADD PRIMARY KEY (n)',
	'CREATE TABLE told (kind text, tag text, amount int)');

# --- the clients --------------------------------------------------------------------

my $fresh = q(provconn_oauth2_credentials('a', 'r', now() + interval '1 second'));
my $of = 'FROM mine AS m, %s AS r WHERE n = %d';

# Each with its share of the commands; %d is a connection's number.
my %commands = (
	connect        => [ 8,  'SELECT r.ok FROM (SELECT 1) AS one, provconn_connect(provconn_connect_command(gen_random_uuid(), ' . ProvconnWorker::PROVIDER . ", 'acme', $fresh)) AS r WHERE 0 < %d" ],
	again          => [ 2,  'SELECT r.ok FROM mine AS m, provconn_connect(provconn_connect_command(m.user_id, ' . ProvconnWorker::PROVIDER . ", 'acme', $fresh)) AS r WHERE n = %d" ],
	initiate       => [ 3,  'SELECT r.ok FROM mine AS m, provconn_initiate(m.user_id, ' . ProvconnWorker::PROVIDER . ", 'acme', 'another') AS r WHERE n = %d" ],
	refresh        => [ 20, "SELECT r.ok FROM mine AS m, provconn_refresh(provconn_refresh_command(m.connection_id, $fresh)) AS r WHERE n = %d" ],
	batch          => [ 5,  "SELECT ok FROM provconn_refresh_batch(ARRAY(SELECT provconn_refresh_command(connection_id, $fresh) FROM mine WHERE n BETWEEN %d AND %d + 2))" ],
	reauthenticate => [ 4,  "SELECT r.ok FROM mine AS m, provconn_reauthenticate(m.user_id, m.connection_id, $fresh) AS r WHERE n = %d" ],
	reveal         => [ 25, "SELECT r.ok FROM mine AS m, provconn_reveal(m.user_id, m.connection_id, 'crash') AS r WHERE n = %d" ],
	stranger       => [ 2,  'SELECT r.ok FROM mine AS m, provconn_reveal(gen_random_uuid(), m.connection_id) AS r WHERE n = %d' ],
	claim          => [ 8,  q(SELECT r.lease IS NOT NULL FROM provconn_claim_due('crash', max_connections => 3, lease_for => '1 second') AS r WHERE 0 < %d) ],
	rename         => [ 5,  "SELECT r.ok FROM mine AS m, provconn_rename(m.user_id, m.connection_id, 'name ' || random()) AS r WHERE n = %d" ],
	metadata       => [ 4,  "SELECT r.ok FROM mine AS m, provconn_set_metadata(m.user_id, m.connection_id, jsonb_build_object('r', random())) AS r WHERE n = %d" ],
	sync           => [ 4,  'SELECT r.ok FROM mine AS m, provconn_record_sync(m.connection_id) AS r WHERE n = %d' ],
	expired        => [ 2,  'SELECT r.ok FROM mine AS m, provconn_mark_expired(m.connection_id) AS r WHERE n = %d' ],
	failed         => [ 1,  'SELECT r.ok FROM mine AS m, provconn_mark_failed(m.connection_id) AS r WHERE n = %d' ],
	failure        => [ 2,  q(SELECT r.ok FROM mine AS m, provconn_report_failure(m.connection_id, gen_random_uuid(), 'no') AS r WHERE n = %d) ],
	direct         => [ 2,  q(UPDATE provconn.connection AS c SET alias = 'direct ' || random() FROM mine AS m WHERE m.connection_id = c.connection_id AND n = %d RETURNING 't') ],
	rotate         => [ 0.1, 'SELECT provconn_rotate_key() > 0 WHERE 0 < %d' ],
	seal           => [ 0.5, q(SELECT 't' FROM provconn_seal_audit() WHERE 0 < %d) ],
);
my @wheel = map { ($_) x (10 * $commands{$_}[0]) } sort keys %commands;
# What has no row of the audit for each row of the result.
my %is_uncounted = map { $_ => 1 } qw(rotate seal);

# Gives commands until the server is gone; what it was told goes to a file:
# A (acknowledged), G (got secrets), R (rolled back), the tag of the command, and how
# many rows of the audit it has to have.
sub run_client
{
	my ($name, $file) = @_;

	open(my $out, '>>', $file) or die "$file: $!";
	my $tell = sub { syswrite($out, join(' ', @_) . "\n") };
	my $session = ProvconnNode::session($node);

	for (my $number = 1;; $number++)
	{
		my $tag = "$name-$number";
		my $command = $wheel[ rand @wheel ];
		my $way = rand;
		my $savepoint = $way > 0.7 && $way < 0.85;
		my $begin = $session->query("BEGIN; SET LOCAL application_name = '$tag'" . ($savepoint ? '; SAVEPOINT a' : ''));
		my $sql = sprintf($commands{$command}[1] =~ s/%d/%1\$d/gr, 1 + int(rand(CONNECTIONS)));
		my $result = $session->query($sql);
		my $amount = @{ $result->{rows} };

		if ($result->{error})
		{
			$tell->('E', $tag, $result->{error}{C}, $command);
			$session->query('ROLLBACK');
			next;
		}
		next if $is_uncounted{$command} && !$session->must('COMMIT')->{error};
		if ($command =~ /reveal|claim/)
		{
			$amount = grep { $_->[0] eq 't' } @{ $result->{rows} };
			$tell->('G', $tag, $amount) if $amount;
			sleep(rand() * 0.03) if rand() < 0.3;
		}
		my $end = $savepoint ? 'ROLLBACK TO a; COMMIT' : $way >= 0.85 ? 'ROLLBACK' : 'COMMIT';
		my $error = $session->query($end)->{error};

		die "$error->{M}\n" if $error && $error->{S} ne 'ERROR';
		$tell->($error || $end ne 'COMMIT' ? 'R' : 'A', $tag, scalar @{ $result->{rows} });
	}
}

sub start_client
{
	my ($name) = @_;
	my $file = "$dir/$name";
	my $pid = fork() // die "fork: $!";

	return ($pid, $file) if $pid;
	srand($seed + $$);
	$SIG{PIPE} = 'IGNORE';
	eval { run_client($name, $file) };
	POSIX::_exit(0);
}

# --- the killer -----------------------------------------------------------------------

sub pid_of
{
	my ($condition) = @_;

	return $admin->value("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND $condition ORDER BY random() LIMIT 1");
}

my %killers = (
	session   => sub { kill 'KILL', pid_of(q(application_name LIKE '%-%')) // return },
	worker    => sub {
		my $pid;

		ProvconnNode::wait_until(sub { $pid = pid_of(q(backend_type = 'provconn worker')) }, 5);
		kill 'KILL', $pid // pid_of(q(backend_type = 'checkpointer'));
	},
	launcher  => sub { kill 'KILL', pid_of(q(backend_type = 'provconn launcher')) // pid_of(q(backend_type = 'checkpointer')) },
	immediate => sub { $node->stop('immediate'); $node->start },
	postmaster => sub {
		my $pid = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];

		$node->kill9;
		# As long as one of its processes is there another server cannot be.
		ProvconnNode::wait_until(sub { !kill(0, $pid) }, 5);
		ProvconnNode::wait_until(sub { run_log([ 'pg_ctl', '-w', '-D', $node->data_dir, '-l', $node->logfile, 'start' ]) }, 30)
		  or die "the server does not start\n";
		$node->_update_pid(1);
	});
my @killers = sort keys %killers;

# --- what has to hold -----------------------------------------------------------------

sub complaints
{
	my ($what, $sql) = @_;
	my @rows = map { join(' ', map { $_ // '-' } @$_) } @{ $admin->must("$sql LIMIT 5")->{rows} };

	is(join("\n", @rows), '', $what);
	return;
}

# The tags are all of this round.
sub check
{
	my ($round, $how, @files) = @_;
	my @told = map { [ split ] } map { split /\n/, slurp_file($_) } grep { -e } @files;
	my @wrong = grep { $_->[0] eq 'E' && $_->[2] !~ /^(40P01|40001|57P0.)$/ } @told;
	my %count;

	$count{ $_->[0] }++ for @told;
	note("round $round, $how: " . join(', ', map { "$count{$_} $_" } sort keys %count));
	is(join("\n", map { "@$_" } @wrong[ 0 .. ($#wrong < 4 ? $#wrong : 4) ]), '', "$round: no command failed");
	cmp_ok($count{A} // 0, '>', 10, "$round: some were acknowledged");
	$admin->must('TRUNCATE told');
	my $json = JSON::PP::encode_json([ map { { kind => $_->[0], tag => $_->[1], amount => $_->[2] } } grep { $_->[0] ne 'E' } @told ]);
	$admin->bound('INSERT INTO told SELECT * FROM json_to_recordset($1) AS r(kind text, tag text, amount int)', [ 114, 0, $json ]);
	$admin->must('ANALYZE told');

	my $rows = "(SELECT application_name AS tag, count(*) FILTER (WHERE outcome = 'rolled_back') AS rolled_back, count(*) FILTER (WHERE outcome <> 'rolled_back') AS kept, count(*) AS rows"
	  . " FROM provconn_audit_log WHERE application_name LIKE 'r$round.%' GROUP BY 1)";

	complaints("$round: what was acknowledged is on record, once",
		"SELECT t.*, a.* FROM told AS t LEFT JOIN $rows AS a USING (tag) WHERE kind = 'A' AND amount > 0 AND (kept IS DISTINCT FROM amount OR rolled_back <> 0)");
	complaints("$round: what secrets were got is on record, once",
		"SELECT t.*, a.* FROM told AS t LEFT JOIN $rows AS a USING (tag) WHERE kind = 'G' AND rows IS DISTINCT FROM amount");
	complaints("$round: what was rolled back is not on record as anything else, and not twice",
		"SELECT t.*, a.* FROM told AS t JOIN $rows AS a USING (tag) WHERE kind = 'R' AND (kept > 0 OR rows > amount)");
	complaints("$round: nothing is on record twice",
		"SELECT application_name, connection_id, count(*) FROM provconn_audit_log WHERE application_name LIKE 'r$round.%' GROUP BY 1, 2 HAVING count(*) > 1");
	complaints("$round: connections agree with the audit",
		'SELECT c.connection_id, c.version, c.status, c.audit_seq, a.version, a.new_status, a.seq, n.count FROM provconn.connection AS c'
		  . ' LEFT JOIN provconn.audit AS a ON a.audit_id = c.audit_id LEFT JOIN (SELECT connection_id, count(*), max(seq) FROM provconn.audit WHERE seq IS NOT NULL GROUP BY 1) AS n ON n.connection_id = c.connection_id'
		  . ' WHERE ROW(c.version, c.status, c.audit_seq, c.audit_seq, c.audit_seq, c.audit_hash) IS DISTINCT FROM ROW(a.version, a.new_status, a.seq, n.count, n.max, a.entry_hash)');
	# In full now and then: it takes the longer the more there is.
	my $from = $round <= 5 || $round % 10 == 0 ? 'NULL' : q((now() - interval '1 minute'));
	complaints("$round: the audit verifies", "SELECT * FROM provconn_verify_audit(NULL, $from)");
	my $before = $admin->value('SELECT max(seal_id) FROM provconn.seal') // 0;
	$admin->must('SELECT provconn_seal_audit()');
	cmp_ok($admin->value('SELECT max(seal_id) FROM provconn.seal'), '>=', $before, "$round: it is sealed");
	is($admin->value('SELECT count(*) = max(seal_id) FROM provconn.seal'), 't', "$round: no seal is missing");
	return;
}

for my $round (1 .. $rounds)
{
	my $how = $killers[ $round <= @killers ? $round - 1 : rand @killers ];
	my (@pids, @files);

	for my $client (1 .. CLIENTS)
	{
		my ($pid, $file) = start_client("r$round.c$client-x");

		push @pids, $pid;
		push @files, $file;
	}
	sleep(0.3 + rand(1));
	$killers{$how}->();
	waitpid($_, 0) for @pids;
	$admin = ProvconnWorker::reconnect($node);
	ok(ProvconnWorker::settle($admin), "$round: the worker is back ($how)");
	check($round, $how, @files);
}
unlike(ProvconnNode::log_since($node, 0), qr/TRAP:|PANIC:/, 'no assertion failed');

done_testing();
