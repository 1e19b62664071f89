# Restart and crash: whatever was acknowledged is there afterwards, opens, and is
# on record; the key file is needed for credentials and for nothing else.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use ProvconnNode;
use Test::More;

my $node = ProvconnNode::make(
	'main',
	conf => q(
restart_after_crash = on
max_prepared_transactions = 2
log_statement = none
));
my $key_file = ProvconnNode::key_file($node);
my $provider = q('00000000-0000-4000-8000-0000000000aa');
my $user     = q('00000000-0000-4000-8000-000000000001');
my $sessions = 4;
my @connections;

my $admin = ProvconnNode::session($node);
$admin->must("SELECT provconn_register_provider('acme', 'Acme', 'custom', NULL, $provider)");
for my $number (0 .. 3 * $sessions - 1)
{
	push @connections,
	  {
		id => $admin->value(
			"SELECT connection_id FROM provconn_connect(provconn_connect_command($user, $provider, 'acme',"
			  . " provconn_credentials('$number-1', 'custom')))"),
		number  => $number,
		version => 1,
		refused => 0,
		status  => 'active'
	  };
}

# Sessions send commands as fast as they are answered, until $end does something
# that ends them all.
sub storm
{
	my ($name, $acknowledgements, $end) = @_;
	my @workers = map { { session => ProvconnNode::session($node), turn => 0 } } (1 .. $sessions);
	my $acknowledged = 0;
	my $wrong        = 0;

	for my $number (0 .. $#workers)
	{
		my $worker = $workers[$number];

		$worker->{own} = [ grep { $_->{number} % $sessions == $number } @connections ];
		send_next($worker);
	}
	while ($acknowledged < $acknowledgements)
	{
		for my $worker (grep { $_->{session}->is_ready } @workers)
		{
			my $row = $worker->{session}->finish->{rows}[0];

			$wrong++ unless $worker->{took}->($row);
			$acknowledged++;
			send_next($worker);
		}
	}
	is($wrong, 0, "$name: $acknowledged commands were answered as they should be");
	$end->($workers[0]{session});

	# What was answered meanwhile counts; what was not may or may not have happened.
	for my $worker (@workers)
	{
		eval {
			my $result = $worker->{session}->finish;
			$worker->{took}->($result->{rows}[0]) unless $result->{error};
			$worker->{connection}{pending} = 0 unless $result->{error};
		};
		eval { $worker->{session}->query('SELECT pg_sleep(60)') };    # until it is ended
	}
	return;
}

# In turn: a refresh, and now and then one with a version of long ago.
sub send_next
{
	my ($worker) = @_;
	my $turn = $worker->{turn}++;
	my $connection = $worker->{own}[ $turn % @{ $worker->{own} } ];
	my $stale = $turn % 5 == 4;
	my $next  = $connection->{version} + 1;

	$_->{pending} = 0 for @{ $worker->{own} };
	$connection->{pending} = 1;
	$worker->{connection} = $connection;
	$worker->{took} = sub {
		my ($row) = @_;

		if ($stale)
		{
			$connection->{refused}++;
			return $row->[0] eq 'f' && $row->[2] eq 'stale_version';
		}
		$connection->{version} = $next;
		return $row->[0] eq 't' && $row->[1] == $next;
	};
	$worker->{session}->start_query("SELECT ok, version, error_code FROM provconn_refresh("
		  . "provconn_refresh_command('$connection->{id}', provconn_credentials('$connection->{number}-$next', 'custom')),"
		  . " NULL, "
		  . ($stale ? 0 : 'NULL')
		  . ')');
	return;
}

# Nothing acknowledged is lost, and nothing is there without its audit row.
sub everything_is_there
{
	my ($name) = @_;
	my $session = ProvconnNode::session($node);
	my @problems;

	for my $connection (@connections)
	{
		my ($version, $secret) = @{
			$session->must("SELECT version, secret_text FROM provconn_reveal($user, '$connection->{id}')")->{rows}[0]
		};
		my $audit = $session->must(
			"SELECT count(*) FILTER (WHERE action = 'refresh' AND outcome = 'succeeded'),"
			  . " count(*) FILTER (WHERE outcome = 'refused'), count(seq), min(seq), max(seq), max(version)"
			  . " FROM provconn_audit_log WHERE connection_id = '$connection->{id}'")->{rows}[0];
		my $more = $version - $connection->{version};

		push @problems, "version $version, acknowledged $connection->{version}"
		  unless $more == 0 || ($more == 1 && $connection->{pending});
		push @problems, "version $version opens as $secret"
		  unless $secret eq "$connection->{number}-$version";
		push @problems, "version $version, $audit->[0] refreshes on record" unless $audit->[0] == $version - 1;
		push @problems, "seq $audit->[3] to $audit->[4], $audit->[2] rows"
		  unless $audit->[3] == 1 && $audit->[4] == $version && $audit->[2] == $version;
		push @problems, "$audit->[1] refusals, acknowledged $connection->{refused}"
		  unless $audit->[1] == $connection->{refused}
		  || ($audit->[1] == $connection->{refused} + 1 && $connection->{pending});
		$connection->{version} = $version;
		$connection->{refused} = $audit->[1];
	}
	is("@problems", '', "$name: everything is there, opens, and is on record");
	$session->close;
	return;
}

storm('an immediate stop', 600, sub { $node->stop('immediate') });
$node->start;
everything_is_there('an immediate stop');

storm('a killed backend', 600, sub { kill 'KILL', $_[0]->pid });
ok(ProvconnNode::wait_until(
		sub {
			eval { ProvconnNode::session($node)->value('SELECT NOT pg_is_in_recovery()') eq 't' };
		}),
	'the server is back');
everything_is_there('a killed backend');

storm('a fast stop', 200, sub { $node->stop('fast') });
$node->start;
everything_is_there('a fast stop');

# A prepared transaction survives with its locks, its months and its data key.
$node->safe_psql('postgres', 'CREATE DATABASE prepared');
$node->safe_psql(
	'prepared', "CREATE EXTENSION provconn CASCADE;
	INSERT INTO provconn.provider (provider_id, slug, name, credential_type) VALUES ($provider, 'acme', 'Acme', 'custom')");
my $connect = "SELECT ok FROM provconn_connect(provconn_connect_command($user, $provider, 'acme',"
  . " provconn_credentials('%s', 'custom'), '%s'))";
my $first = ProvconnNode::session($node, dbname => 'prepared');
$first->must('BEGIN');
$first->must(sprintf($connect, 'one', 'a'));
$first->must(q(PREPARE TRANSACTION 'first'));
$node->stop('immediate');
$node->start;
my $second = ProvconnNode::session($node, dbname => 'prepared');
$first = ProvconnNode::session($node, dbname => 'prepared');
$second->start_query(sprintf($connect, 'two', 'b'));
ok(ProvconnNode::wait_until(
		sub { $first->value('SELECT count(*) FROM pg_locks WHERE NOT granted') > 0 }),
	'the second command waits for the prepared one');
$first->must(q(COMMIT PREPARED 'first'));
is($second->finish->{rows}[0][0], 't', 'and then goes through');
is($second->value(
		"SELECT string_agg(r.secret_text, ' ' ORDER BY alias) FROM provconn_connections AS c, provconn_reveal(c.user_id, c.connection_id) AS r"),
	'one two',
	'both open');
is($second->value('SELECT count(*) FROM provconn.data_key'), '1', 'with one data key');

# Without its key file after a restart.
my $id = $connections[0]{id};
my $secret = "$connections[0]{number}-$connections[0]{version}";
my $reveal = "SELECT secret_text FROM provconn_reveal($user, '$id')";
my $warm = ProvconnNode::session($node);
is($warm->value($reveal), $secret, 'a session has used the key');
rename $key_file, "$key_file.away" or die "$key_file: $!";
is($warm->value($reveal), $secret, 'and goes on without the file');
$node->restart;

my $session = ProvconnNode::session($node);
my %without = (
	'reveal'  => $reveal,
	'connect' => sprintf($connect, 'x', 'x'),
	'refresh' => "SELECT ok FROM provconn_refresh(provconn_refresh_command('$id', provconn_credentials('x', 'custom')))",
	'refresh_batch' =>
	  "SELECT ok FROM provconn_refresh_batch(ARRAY[provconn_refresh_command('$id', provconn_credentials('x', 'custom'))])");
my $rows = 'SELECT count(*) FROM provconn.audit';
my $before = $session->value($rows);
for my $command (sort keys %without)
{
	my $error = $session->query($without{$command})->{error};

	is($error->{C}, 'PV101', "$command needs the key file");
	is($error->{M}, 'could not read the key file: No such file or directory', 'and says so');
	is($error->{H}, 'Check that provconn.key_file names a file which the server\'s user can read.',
		'with a hint');
}
is($session->value($rows), $before, 'what failed left no row in the audit');
is($session->value("SELECT version FROM provconn_connections WHERE connection_id = '$id'"),
	$connections[0]{version}, 'nor did it touch the connection');

# The rest works: views, and commands that seal or open nothing.
cmp_ok($session->value('SELECT count(*) FROM provconn_audit_log'), '>', 1000, 'the audit reads');
is($session->value('SELECT count(*) FROM provconn_connections WHERE can_sync'),
	scalar @connections, 'the connections read');
is($session->value('SELECT slug FROM provconn_providers'), 'acme', 'the providers read');
is($session->value("SELECT status FROM provconn_initiate($user, $provider, 'acme')"),
	'pending', 'a connection can be initiated');
is($session->value(
		"SELECT error_code FROM provconn_refresh(provconn_refresh_command('$id', provconn_credentials('x', 'custom')), NULL, 0)"),
	'stale_version',
	'a refresh can be refused');
is($session->value(
		"SELECT status FROM provconn_disconnect(provconn_disconnect_command($user, '$connections[1]{id}'))"),
	'disconnected',
	'a connection can be disconnected');
is($session->value("SELECT error_code FROM provconn_reveal($user, '$connections[1]{id}')"),
	'not_active', 'a reveal can be refused');
is($session->value(q(SELECT provconn_register_provider('other', 'Other', 'custom') IS NOT NULL)),
	't', 'a provider can be registered');

rename "$key_file.away", $key_file or die "$key_file: $!";
is($session->value($reveal), $secret, 'with the file back, the same session opens it');

# A server that never had a key.
my $keyless = ProvconnNode::make('keyless');
my $visitor = ProvconnNode::session($keyless);
unlink ProvconnNode::key_file($keyless) or die;
$visitor->must("SELECT provconn_register_provider('acme', 'Acme', 'custom', NULL, $provider)");
is($visitor->value("SELECT status FROM provconn_initiate($user, $provider, 'acme')"),
	'pending', 'without a key a connection can be initiated');
is($visitor->query(sprintf($connect, 'x', 'x'))->{error}{C}, 'PV101', 'but not connected');
is($visitor->value('SELECT count(*) FROM provconn.data_key'), '0', 'and no data key was made');
$visitor->must(q(SET provconn.key_file = ''));
my $error = $visitor->query(sprintf($connect, 'x', 'x'))->{error};
is($error->{C}, 'PV100', 'no key file is configured');
is($error->{M}, 'no master key is configured', 'and the error says so');

done_testing();
