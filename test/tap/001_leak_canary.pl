# The leak canary: secrets go in by every constructor and every command, bound in
# every way a driver may choose, with everything logged that can be logged and
# with errors forced at every stage; then each is searched for in the server's
# log, the data directory, the WAL, logical decoding, the statistics views, a dump
# and what the client was told.  None may be found anywhere but where the table in
# doc/security.md (002_leak_channels.pl) says that it leaks.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use ProvconnNode;
use ProvconnCanary;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = ProvconnNode::make(
	'main',
	init => { allows_streaming => 'logical' },
	conf => q(
shared_preload_libraries = 'auto_explain,pg_stat_statements'
pg_stat_statements.track = all
auto_explain.log_min_duration = 0
auto_explain.log_analyze = on
auto_explain.log_verbose = on
auto_explain.log_triggers = on
auto_explain.log_nested_statements = on
log_statement = all
log_min_duration_statement = 0
log_duration = on
log_lock_waits = on
log_temp_files = 0
log_error_verbosity = verbose
log_min_messages = debug1
log_min_error_statement = debug5
deadlock_timeout = 50ms
track_activity_query_size = 16kB
max_prepared_transactions = 2
wal_keep_size = 1GB
autovacuum = off
));
my $canaries = ProvconnCanary->new;
my $user     = q('00000000-0000-4000-8000-000000000001');
my $provider = q('00000000-0000-4000-8000-0000000000aa');
my $admin    = ProvconnNode::session($node);
my $watch    = ProvconnNode::session($node);
my $version  = $admin->value('SHOW server_version_num');
my $oid      = $admin->value(q(SELECT 'provconn_secret'::regtype::oid));

$admin->must($_)
  for (
	'CREATE EXTENSION pg_stat_statements',
	q(SELECT pg_create_logical_replication_slot('decoded', 'test_decoding')),
	"SELECT provconn_register_provider('acme', 'Acme', 'oauth2', NULL, $provider)",
	'CREATE ROLE app LOGIN',
	q(SELECT provconn_grant('app', 'application'), provconn_grant('app', 'secrets')),
	'CREATE TABLE control (plain text, hex text, base64 text, bytes bytea)',
	'CREATE TABLE misuse (secret provconn_secret)',
	'CREATE TABLE lock (id int PRIMARY KEY)',
	'GRANT ALL ON control, misuse, lock TO app');

# How a driver may bind a secret: type, format, and how the value is written.
my %ways = (
	'untyped'          => [ 0,    0 ],
	'untyped, binary'  => [ 0,    1 ],
	'secret'           => [ $oid, 0 ],
	'secret, binary'   => [ $oid, 1 ],
	'text'             => [ 25,   0 ],
	'varchar'          => [ 1043, 0 ],
	'bytea, binary'    => [ 17,   1 ],
	'bytea'            => [ 17,   0, sub { '\\x' . unpack('H*', $_[0]) } ],
	'json'             => [ 114,  0 ],
	'jsonb'            => [ 3802, 0 ]);

# The log shows parameters of these types.
my @legible = ('text', 'varchar', 'bytea, binary', 'bytea', 'json', 'jsonb');

sub parameter
{
	my ($way, $value) = @_;
	my ($type, $format, $write) = @{ $ways{$way} };

	return [ $type, $format, $write ? $write->($value) : $value ];
}

# Credentials: the expression, and what to bind for canaries.
my %constructors = (
	'provconn_credentials' => [ q(provconn_credentials($1, 'custom')), sub { $_[0] } ],
	'provconn_oauth2_credentials' => [
		q(provconn_oauth2_credentials($1, $2, now() + interval '1 hour', 'scope', 'Bearer')),
		sub { @_ }
	],
	'provconn_api_key_credentials' => [ 'provconn_api_key_credentials($1, $2)', sub { @_ } ],
	'provconn_token_response' => [
		'provconn_token_response($1)',
		sub { qq({"access_token": "$_[0]", "refresh_token": "$_[1]", "expires_in": 3600}) }
	],
	'a row' => [ q(CAST(ROW($1, 'oauth2', NULL) AS provconn_credentials)), sub { $_[0] } ]);

my $connection = new_connection($admin, 'target');
my $second     = new_connection($admin, 'second');
my $expired    = new_connection($admin, 'expired');
my %commands   = (
	'provconn_connect' =>
	  "SELECT ok FROM provconn_connect(provconn_connect_command($user, $provider, 'acme', %s))",
	'provconn_connect with a key' =>
	  "SELECT ok FROM provconn_connect(provconn_connect_command($user, $provider, 'acme', %s), gen_random_uuid())",
	'provconn_refresh' =>
	  "SELECT ok FROM provconn_refresh(provconn_refresh_command('$connection', %s))",
	'provconn_reauthenticate' =>
	  "SELECT r.ok FROM provconn_mark_expired('$expired') AS m, LATERAL provconn_reauthenticate($user, m.connection_id, %s) AS r",
	'provconn_refresh_batch' =>
	  "SELECT ok FROM provconn_refresh_batch(ARRAY[provconn_refresh_command('$connection', %1\$s), provconn_refresh_command('$second', %1\$s)])");

my %seen = (client => '', activity => '');

# Phases: what the log shows of parameters, by default, to the full, not at all.
my @phases = (
	{ name => 'by default' },
	{
		name     => 'with parameters on error',
		# whatever is logged while a statement with parameters runs shows them: even
		# auto_explain's entry of a statement inside a command (002_leak_channels.pl)
		settings => {
			log_parameter_max_length_on_error    => -1,
			'auto_explain.log_nested_statements' => 'off'
		},
		on_error => 1
	},
	{
		name     => 'without parameters',
		settings => {
			log_parameter_max_length => 0,
			$version >= 160000
			? ('auto_explain.log_parameter_max_length' => 0)
			: ()
		},
		silent => 1
	});

for my $phase (@phases)
{
	$admin->must('ALTER ROLE app RESET ALL');
	$admin->must("ALTER ROLE app SET $_ = $phase->{settings}{$_}") for keys %{ $phase->{settings} || {} };
	every_command($phase);
	every_stage($phase);
}

# Every constructor in every command, bound in every way.
sub every_command
{
	my ($phase) = @_;
	my $session = ProvconnNode::session($node, user => 'app');
	my @failed;

	for my $way (sort keys %ways)
	{
		for my $constructor (sort keys %constructors)
		{
			next if $way =~ /^json/ && $constructor ne 'provconn_token_response';
			my ($expression, $values) = @{ $constructors{$constructor} };

			for my $command (sort keys %commands)
			{
				my @places =
				  grep({ $_ eq $way } @legible) && !$phase->{silent} ? ('log') : ();
				my @secrets = map {
					$canaries->hatch("$phase->{name}: $command, $constructor, $way, $_", @places)
				} (1, 2);
				my @values = $values->(@secrets);
				my $result = $session->bound(sprintf($commands{$command}, $expression),
					map { parameter($way, $_) } @values);

				$seen{activity} .= activity();
				push @failed, "$command, $constructor, $way: " . explain_error($result)
				  if $result->{error} || grep { $_->[0] ne 't' } @{ $result->{rows} };
				# a constructor of one secret leaves the second one at home
				$canaries->forget($secrets[1]) if "@values" !~ /$secrets[1]/;
			}
		}
	}
	is("@failed", '', "every command goes through $phase->{name}");

	# Prepared statements, up to their generic plan.
	$session->prepare('named', sprintf($commands{provconn_refresh}, 'provconn_oauth2_credentials($1, $2)'));
	for (1 .. 7)
	{
		my @secrets =
		  map { $canaries->hatch("$phase->{name}: prepared, run $_") } (1, 2);
		my $result = $session->execute('named', map { [ 0, 0, $_ ] } @secrets);

		is($result->{rows}[0][0], 't', "prepared statement, run $_, $phase->{name}");
	}

	# A whole composite, and an array of them, as one parameter.
	my $composite = $canaries->hatch("$phase->{name}: composite");
	is($session->bound(
			"SELECT ok FROM provconn_connect(provconn_connect_command($user, $provider, 'acme', \$1))",
			[ 0, 0, "($composite,custom,)" ])->{rows}[0][0],
		't',
		"a composite as a parameter, $phase->{name}");
	my $array = $canaries->hatch("$phase->{name}: array");
	is($session->bound('SELECT ok FROM provconn_refresh_batch($1)',
			[ 0, 0, qq({"($connection,\\"($array,custom,)\\")"}) ])->{rows}[0][0],
		't',
		"an array of composites as a parameter, $phase->{name}");

	# A secret of many pages.
	my $large = $canaries->hatch("$phase->{name}: large");
	my $value = join(' ', ($large) x 20000);
	is($session->bound(sprintf($commands{provconn_refresh}, q(provconn_credentials($1, 'custom'))),
			[ 0, 0, $value ])->{rows}[0][0],
		't',
		"a large secret, $phase->{name}");
	is($session->value(
			"SELECT secret_text = repeat(\$1 || ' ', 19999) || \$1 FROM provconn_reveal($user, '$connection')",
			[ 25, 0, 'x' ]),
		'f',
		"reveal, $phase->{name}");

	$seen{client} .= $session->said unless $phase->{on_error};
	$session->close;
	return;
}

# Errors at every stage.
sub every_stage
{
	my ($phase) = @_;
	my $connect  = sprintf($commands{provconn_connect}, q(provconn_credentials($1, 'custom')));
	my $refresh  = sprintf($commands{provconn_refresh}, q(provconn_credentials($1, 'custom')));
	my $response = sprintf($commands{provconn_refresh}, 'provconn_token_response($1)');
	my $reauthenticate = sprintf($commands{provconn_reauthenticate}, q(provconn_credentials($1, 'custom')));

	# provconn's own: neither statement nor parameters are logged
	stage($phase, 'a refusal raised', 'PV003',
		sql => "SELECT provconn_unwrap(provconn_connect(provconn_connect_command($user, $provider, 'wrong', provconn_credentials(\$1, 'custom'))))");
	stage($phase, 'a refusal to reauthenticate raised', 'PV013',
		sql => "SELECT provconn_unwrap(provconn_reauthenticate($user, '$connection', provconn_credentials(\$1, 'custom')))");
	stage($phase, 'a missing key file, to reauthenticate', 'PV101', sql => $reauthenticate,
		set => { 'provconn.key_file' => q('/nonexistent') });
	stage($phase, 'a read-only transaction', '25006', sql => $connect, before => 'BEGIN READ ONLY');
	stage($phase, 'a missing key file', 'PV101', sql => $connect,
		set => { 'provconn.key_file' => q('/nonexistent') });
	stage($phase, 'an ALTER TYPE', 'PV106', sql => $connect,
		admin => 'ALTER TYPE provconn_connect_command RENAME ATTRIBUTE alias TO nickname',
		undo => 'ALTER TYPE provconn_connect_command RENAME ATTRIBUTE nickname TO alias');
	stage($phase, 'an ALTER TYPE of credentials', 'PV106', sql => $connect,
		admin => 'ALTER TYPE provconn_credentials RENAME ATTRIBUTE secret TO password',
		undo => 'ALTER TYPE provconn_credentials RENAME ATTRIBUTE password TO secret');
	stage($phase, 'an ALTER TABLE', 'PV107', sql => $connect,
		admin => 'ALTER TABLE provconn.connection RENAME alias TO nickname',
		undo => 'ALTER TABLE provconn.connection RENAME nickname TO alias');
	stage($phase, 'a disabled trigger', 'PV111', sql => $connect,
		admin => 'ALTER TABLE provconn.connection DISABLE TRIGGER provconn_audit',
		undo => 'ALTER TABLE provconn.connection ENABLE ALWAYS TRIGGER provconn_audit');
	stage($phase, 'a serialization failure', '40001', sql => $refresh,
		before => 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class LIMIT 1',
		admin => "UPDATE provconn.connection SET metadata = '{}' WHERE connection_id = '$connection'");
	stage($phase, 'a token response that is none', '22023', sql => $response,
		value => sub { "$_[0] is no JSON" });
	stage($phase, 'an error response', '22023', sql => $response,
		value => sub { qq({"error": "$_[0]", "error_description": "$_[0]"}) });
	stage($phase, 'a bad expires_in', '22023', sql => $response,
		value => sub { qq({"access_token": "$_[0]", "expires_in": "$_[0]"}) });
	stage($phase, 'bytes that are no text', '22021',
		sql => sprintf($commands{provconn_refresh}, 'provconn_oauth2_credentials($1)'),
		value => sub { "$_[0]\xff$_[0]" });
	stage($phase, 'a tampered ciphertext', 'PV104', sql => $response,
		value => sub { qq({"access_token": "$_[0]"}) },
		admin => 'UPDATE provconn.connection SET credential = set_byte(credential, 40, get_byte(credential, 40) # 1)'
		  . " WHERE connection_id = '$connection'",
		undo => "SELECT ok FROM provconn_refresh(provconn_refresh_command('$connection', provconn_oauth2_credentials('mended', 'r')))",
		before => sprintf($commands{provconn_refresh}, q(provconn_oauth2_credentials('stored', 'r'))));

	# PostgreSQL's and the DBA's, with a secret under way
	stage($phase, 'a cancel', '57014', sql => "$connect AS c, pg_sleep(60)",
		during => sub { $_[0]->cancel });
	stage($phase, 'statement_timeout', '57014', sql => "$connect AS c, pg_sleep(60)",
		set => { statement_timeout => q('500ms') });
	stage($phase, 'lock_timeout', '55P03', sql => $refresh, set => { lock_timeout => q('100ms') },
		admin => "BEGIN; SELECT FROM provconn.connection WHERE connection_id = '$connection' FOR UPDATE",
		undo => 'ROLLBACK');
	# the admin waits first, and long; so it is the session that has to give up
	stage($phase, 'a deadlock', '40P01', sql => $refresh,
		set => { deadlock_timeout => q('50ms') },
		before => 'BEGIN; SELECT pg_advisory_xact_lock(1)',
		admin => sub {
			$admin->must("BEGIN; SELECT FROM provconn.connection WHERE connection_id = '$connection' FOR UPDATE;"
				  . q( SET LOCAL deadlock_timeout = '1h'));
			$admin->start_query('SELECT pg_advisory_xact_lock(1)');
			ProvconnNode::wait_until(
				sub { $watch->value(q(SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory')) > 0 });
		},
		undo => sub { $admin->finish; $admin->must('ROLLBACK') });
	stage($phase, 'a division by zero', '22012', 
		sql => "$connect WHERE 1 / (SELECT 0 FROM pg_class WHERE relname = 'pg_class') = 1");
	stage($phase, 'a division by zero, to reauthenticate', '22012', 
		sql => "$reauthenticate WHERE 1 / (SELECT 0 FROM pg_class WHERE relname = 'pg_class') = 1");
	stage($phase, 'a constraint', '23514', 
		sql => "SELECT ok FROM provconn_connect(provconn_connect_command($user, $provider, 'acme', provconn_credentials(\$1, 'custom'), 'forbidden'))",
		admin => q(ALTER TABLE provconn.connection ADD CONSTRAINT dba CHECK (alias <> 'forbidden')),
		undo => 'ALTER TABLE provconn.connection DROP CONSTRAINT dba');
	stage($phase, q(a trigger of the DBA's), 'P0001', sql => $connect,
		admin => q(CREATE FUNCTION dba() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no: %', NEW; END$$;
			CREATE TRIGGER dba BEFORE INSERT ON provconn.connection FOR EACH ROW EXECUTE FUNCTION dba()),
		undo => 'DROP FUNCTION dba() CASCADE');
	stage($phase, 'a missing right', '42501', sql => $connect,
		admin => q(SELECT provconn_revoke('app', 'application')),
		undo => q(SELECT provconn_grant('app', 'application')));
	return;
}

# One stage, with the secret bound in three ways.
sub stage
{
	my ($phase, $name, $sqlstate, %opt) = @_;

	for my $way ('untyped', 'secret', 'secret, binary')
	{
		my $secret = $canaries->hatch("$phase->{name}: $name, $way");

		$admin->must("ALTER ROLE app SET $_ = $opt{set}{$_}") for keys %{ $opt{set} || {} };
		my $session = ProvconnNode::session($node, user => 'app');
		$admin->must("ALTER ROLE app RESET $_") for keys %{ $opt{set} || {} };
		$session->must($opt{before}) if $opt{before};
		ref $opt{admin} ? $opt{admin}->() : $admin->must($opt{admin}) if $opt{admin};
		$session->start_bound($opt{sql},
			parameter($way, $opt{value} ? $opt{value}->($secret) : $secret));
		if ($opt{during})
		{
			ProvconnNode::wait_until(
				sub {
					my $waits = $watch->value('SELECT count(*) FROM pg_stat_activity'
						  . " WHERE pid = " . $session->pid . " AND wait_event_type IN ('Lock', 'Timeout')");

					$seen{activity} .= activity($watch);
					return $waits > 0;
				});
			$opt{during}->($session);
		}
		my $result = $session->finish;
		is($result->{error} ? $result->{error}{C} : 'none', $sqlstate, "$name, $way, $phase->{name}")
		  or diag(explain_error($result));
		$session->query('ROLLBACK');
		ref $opt{undo} ? $opt{undo}->() : $admin->must($opt{undo}) if $opt{undo};
		$seen{client} .= $session->said unless $phase->{on_error};
		$session->close;
	}
	return;
}

# Without an error: rolled back, prepared, in a crash.
my $session = ProvconnNode::session($node, user => 'app');
my $connect = sprintf($commands{provconn_connect}, q(provconn_credentials($1, 'custom')));

$session->must('BEGIN');
$session->bound($connect, [ 0, 0, $canaries->hatch('rolled back') ]);
$session->must('ROLLBACK');
$session->must('BEGIN');
$session->bound($connect, [ 0, 0, $canaries->hatch('prepared transaction') ]);
$session->must(q(PREPARE TRANSACTION 'secret'));

# What the search must find, or it proves nothing.
$session->bound(
	'INSERT INTO control (plain) VALUES ($1)',
	[ 25, 0, $canaries->hatch('control, plain', qw(data decoded dump log wal)) ]);
$session->bound(
	q(INSERT INTO control (hex) VALUES (encode($1, 'hex'))),
	[ 17, 1, $canaries->hatch('control, hexadecimal', qw(data decoded dump log wal)) ]);
$session->bound(
	q(INSERT INTO control (base64) VALUES (encode($1, 'base64'))),
	[ 17, 1, 'x' x $_ . $canaries->hatch("control, base64 at $_", qw(data decoded dump log wal)) ])
  for (0 .. 2);
$session->bound(
	'INSERT INTO control (bytes) VALUES ($1)',
	[ 17, 1, $canaries->hatch('control, bytes', qw(data decoded dump log wal)) ]);

# The type shows nothing of itself, and a column of it holds masked bytes.
$session->bound('INSERT INTO misuse VALUES ($1)',
	[ 0, 0, $canaries->hatch('a column of type provconn_secret') ]);
$canaries->search_text('select',
	\$admin->value('SELECT string_agg(secret::text, $$ $$) FROM (SELECT m::text AS secret FROM misuse AS m) AS m'));

# Views, decoding, dump; then a crash, with a secret under way.
my $statements = $admin->value(q(SELECT string_agg(query, E'\n') FROM pg_stat_statements));
cmp_ok(length $statements, '>', 10000, 'pg_stat_statements has seen the statements');
$canaries->search_text('statements', \$statements);
my $decoded = join("\n", map { $_->[0] }
	  @{ $admin->must(q(SELECT data FROM pg_logical_slot_get_changes('decoded', NULL, NULL)))->{rows} });
like($decoded, qr/table provconn\.connection: UPDATE/, 'logical decoding has seen the rows');
$canaries->search_text('decoded', \$decoded);

my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'pg_dump');
my $dumped = slurp_file($dump);
like($dumped, qr/COPY provconn\.connection /, 'the dump has the connections');
$canaries->search_text('dump', \$dumped);

cmp_ok(length $seen{activity}, '>', 100000, 'pg_stat_activity has been looked at');
$canaries->search_text('activity', \$seen{activity});
cmp_ok(length $seen{client}, '>', 5000, 'the client has been told of errors');
$canaries->search_text('client', \$seen{client});

$session->start_bound("$connect AS c, pg_sleep(60)", [ 0, 0, $canaries->hatch('crash') ]);
ProvconnNode::wait_until(
	sub { $admin->value(q(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep')) > 0 });
$node->stop('immediate');
$node->start;
$node->safe_psql('postgres', 'CHECKPOINT');
$node->safe_psql('postgres', q(COMMIT PREPARED 'secret'));
is($node->safe_psql('postgres', 'SELECT count(*) FROM provconn.audit WHERE action IS NULL'),
	'0', 'the server is back');
$node->stop;

my $log = ProvconnNode::log_since($node, 0);
cmp_ok(length $log, '>', 1000000, 'the log has seen the statements');
like($log, qr/Query Text: SELECT ok FROM provconn_connect/, 'auto_explain was at work');
$canaries->search_text('log', \$log);
$canaries->search_files('wal', $node->data_dir . '/pg_wal');
$canaries->search_files('data', $node->data_dir, qr{/pg_wal/});

my @complaints = $canaries->complaints;
is(scalar @complaints, 0, 'no secret was found where none may be')
  or diag(join("\n", @complaints[ 0 .. ($#complaints > 40 ? 40 : $#complaints) ]));
note($canaries->count . ' canaries');
cmp_ok($canaries->count, '>', 900, 'canaries of all kinds were sent');

done_testing();

sub new_connection
{
	my ($by, $alias) = @_;

	return $by->value(
		"SELECT connection_id FROM provconn_connect(provconn_connect_command($user, $provider, 'acme',"
		  . " provconn_oauth2_credentials('first', 'r'), '$alias'))");
}

sub activity
{
	my ($by) = @_;

	return ($by || $admin)
	  ->value(q(SELECT string_agg(a::text, E'\n') FROM pg_stat_activity AS a WHERE usename = 'app')) . "\n";
}

sub explain_error
{
	my ($result) = @_;

	return $result->{error} ? "$result->{error}{C} $result->{error}{M}" : 'no error';
}
