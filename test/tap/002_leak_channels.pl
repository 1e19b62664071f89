# What leaks where: the tables of doc/security.md, made from what is seen here.
#
# The first has the secrets that go in: rows are ways out of the server, columns
# ways to hand over the secret, and every function that takes one is tried.  The
# second has the secrets that come out.  Each cell has canaries of its own; that one
# is found is as much a fact to be kept as that another is not: who reads the table
# relies on both.  See lib/ProvconnTable.pm for what a cell says, for controls and
# for how to write the tables anew.
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
use ProvconnTable;
use Test::More;

my $node = ProvconnNode::make(
	'main',
	conf => q(
shared_preload_libraries = 'auto_explain,pg_stat_statements'
pg_stat_statements.track = all
auto_explain.log_analyze = on
auto_explain.log_verbose = on
log_statement = none
log_error_verbosity = verbose
deadlock_timeout = 20ms
restart_after_crash = on
track_activity_query_size = 16kB
autovacuum = off
));
my $canaries = ProvconnCanary->new;
my $admin    = ProvconnNode::session($node);
my $major    = int($admin->value('SHOW server_version_num') / 10000);
my $table    = ProvconnTable->new(
	name     => 'canary table',
	canaries => $canaries,
	major    => $major,
	head     => 'way out',
	columns  => [
		[ literal => 'literal' ],
		[ untyped => 'bound, no type' ],
		[ secret  => 'as `provconn_secret`' ],
		[ binary  => 'the same, binary' ],
		[ text    => 'as `text`' ],
		[ bytea   => 'as `bytea`' ]
	]);
my @columns = map { $_->[0] } @{ $table->{columns} };
my $user    = q('00000000-0000-4000-8000-000000000001');
my $acme    = q('00000000-0000-4000-8000-0000000000aa');
my $oid     = $admin->value(q(SELECT 'provconn_secret'::regtype::oid));
my %bind    = (
	untyped => sub { [ 0,    0, $_[0] ] },
	secret  => sub { [ $oid, 0, $_[0] ] },
	binary  => sub { [ $oid, 1, $_[0] ] },
	text    => sub { [ 25,   0, $_[0] ] },
	bytea   => sub { [ 17,   1, $_[0] ] });
my %type_of = (secret => 'provconn_secret', text => 'text', bytea => 'bytea');

$admin->must($_)
  for (
	'CREATE EXTENSION pg_stat_statements',
	"SELECT provconn_register_provider('acme', 'Acme', 'oauth2', NULL, $acme)",
	'CREATE ROLE nobody',
	'CREATE TABLE control (plain text)',
	'CREATE TABLE misuse (s provconn_secret, c provconn_credentials)',
	'CREATE TYPE pair AS (a text, b text)',
	q(CREATE FUNCTION echo(t text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RETURN t; END$$),
	q(CREATE FUNCTION nested(t text) RETURNS text LANGUAGE plpgsql AS $$BEGIN PERFORM FROM pg_class LIMIT 1; RETURN t; END$$),
	map { wrapper($_) } qw(text provconn_secret));
my ($target, $expired, $expiring) = map { new_connection($_) } qw(target expired expiring);
$admin->must("SELECT FROM provconn_mark_expired('$expired')");

# --- the functions that take a secret ---------------------------------------

# expr makes what is handed over, of %s; from is an item of FROM with a column "ok".
# reauthenticate needs a connection that is expired, unless it fails anyway.
my @constructors = (
	{ name => 'provconn_credentials',         expr => q(provconn_credentials(%s, 'custom')) },
	{ name => 'provconn_oauth2_credentials',  expr => q(provconn_oauth2_credentials('a', %s)) },
	{ name => 'provconn_api_key_credentials', expr => 'provconn_api_key_credentials(%s)' },
	{
		name  => 'provconn_token_response',
		expr  => 'provconn_token_response(%s)',
		value => sub { qq({"access_token": "$_[0]"}) }
	},
	{ name => 'ROW', expr => q(CAST(ROW(%s, 'oauth2', NULL) AS provconn_credentials)) });
my @commands = (
	take(0, 'provconn_connect', "provconn_connect(provconn_connect_command($user, $acme, 'acme', %c))"),
	take(1, 'provconn_refresh', "provconn_refresh(provconn_refresh_command('$target', %c))"),
	take(2, 'provconn_reauthenticate', "provconn_reauthenticate($user, '$expired', %c)",
		"provconn_mark_expired('$expiring') AS m, LATERAL provconn_reauthenticate($user, m.connection_id, %c)"),
	take(3, 'provconn_refresh_batch', "provconn_refresh_batch(ARRAY[provconn_refresh_command('$target', %c)])"),
	take(4, 'provconn_connect', "provconn_connect(provconn_connect_command($user, $acme, 'acme', %c), gen_random_uuid())"));
my $cast    = { name => 'a cast', expr => 'CAST(%s AS provconn_secret)', from => '(SELECT CAST(%s AS provconn_secret) IS NOT NULL AS ok OFFSET 0)' };
my $control = { name => 'control', expr => 'CAST(%s AS text)', from => '(SELECT length(CAST(%s AS text)) > 0 AS ok OFFSET 0)' };
# The planner calls these; provconn_token_response by default reads the clock.
my @immutable = (map({ { %$_, expr => $_->{expr} =~ s/token_response\(%s\)/token_response(%s, 'epoch')/r } } @constructors), $cast);
my @uses    = (@commands, $cast);
my @makers  = (@constructors, $cast);

sub take
{
	my ($number, $name, $fails, $works) = @_;
	my $constructor = $constructors[$number];
	my ($from, $inside) = map { s/%c/$constructor->{expr}/r } $works // $fails, $fails;

	return { %$constructor, name => "$name($constructor->{name})", from => $from, inside => $inside };
}

# --- rows -------------------------------------------------------------------

# One row, or more of it.  %opt:
#   sql        makes a statement of a use; by default the use alone
#   state      the SQLSTATE that it ends with
#   columns, uses, since
#   ways       how a literal is sent: by the simple protocol, the extended one, or in
#              an EXECUTE of what PREPARE has prepared
#   settings   statements at the start of each session
#   run        instead of sql: given session, column, use and canary, returns the
#              texts to be searched, if it is not the log
#   place      the name of what is searched, 'log' by default; several with blanks
#   control    overrides some of these for the control
sub row
{
	my ($label, %opt) = @_;
	my $row = $table->row($label, %{ $opt{since} || {} });
	my @columns = @{ $opt{columns} || \@columns };

	for my $use (@{ $opt{uses} || \@uses })
	{
		for_cells($label, \%opt, $use, \@columns, sub { $table->saw($row, @_) });
	}
	my %control = (%opt, %{ $opt{control} || {} });
	my @plain = grep { my $column = $_; grep { $_ eq $column } @columns } qw(literal text);
	for_cells($label, \%control, $control, $control{plain} || [ @plain ? @plain : 'text' ],
		sub { $table->saw_control($row, @_[3 .. $#_]) });
	return;
}

sub for_cells
{
	my ($label, $opt, $use, $columns, $see) = @_;
	my $session = ProvconnNode::session($node);
	my @places = split(' ', $opt->{place} || 'log');

	$session->must($_) for @{ $opt->{settings} || [] }, @{ $use->{settings} || [] };
	for my $column (@$columns)
	{
		for my $way ($column eq 'literal' ? @{ $opt->{ways} || [ $opt->{run} ? 'simple' : qw(simple extended) ] } : 'simple')
		{
			my $canary = $canaries->hatch("$label, $column, $use->{name}");
			my $seen = ($opt->{run} || statement($opt->{sql} || \&plain, $opt->{state}))->($session, $column, $use, $canary, $way);

			$canaries->search_text($places[0], \$seen) if defined $seen;
			$see->($column, $way, $use->{name}, $canary, @places);
		}
	}
	$session->close;
	return;
}

sub plain { return "SELECT c.ok FROM $_[0]{from} AS c"; }

# Runs what $sql makes of the use; it has to succeed, or to fail with that SQLSTATE.
sub statement
{
	my ($sql, $state) = @_;

	return sub {
		my ($session, $column, $use, $canary, $way) = @_;

		start($session, $column, $sql->($use), value($use, $canary), $way);
		outcome($session->finish, $state, "$use->{name}, $column");
		return;
	};
}

# "t" where there is a result; told only when it is not so.
sub outcome
{
	my ($result, $state, $what) = @_;
	my $got = $result->{error} ? $result->{error}{C} : '00000';
	my $refused = $got eq '00000' && $result->{rows}[0] && ($result->{rows}[0][0] // '') eq 'f';

	fail("$what: ended with $got, not " . ($state || '00000')), diag(explain($result))
	  if $got ne ($state || '00000') || $refused;
	return $result;
}

sub value
{
	my ($use, $canary) = @_;

	return $use->{value} ? $use->{value}->($canary) : $canary;
}

# Sends a statement that has %s where the secret belongs.
sub start
{
	my ($session, $column, $sql, $value, $way) = @_;

	return $session->start_bound($sql =~ s/%s/\$1/r, $bind{$column}->($value)) if $column ne 'literal';
	if (($way // '') eq 'execute')
	{
		my $type = $sql =~ /provconn/ ? 'provconn_secret' : 'text';

		$session->must('DEALLOCATE ALL');
		$session->must("PREPARE p($type) AS " . $sql =~ s/%s/\$1/r);
		$sql = "EXECUTE p(%s)";
	}
	$sql =~ s/%s/'$value'/;
	return ($way // '') eq 'extended' ? $session->start_bound($sql) : $session->start_query($sql);
}

sub run_rows
{
	my ($sql) = @_;

	return sub {
		my ($session, $column, $use, $canary) = @_;

		start($session, $column, $sql->($use), value($use, $canary));
		my $result = outcome($session->finish, undef, "$use->{name}, $column");
		return join("\n", map { $_->[0] // '' } @{ $result->{rows} });
	};
}

# --- the server's log -------------------------------------------------------

# One that is known before the function is called, and one that is not.
my $before   = sub { plain($_[0]) . q( WHERE 1 / (SELECT 0 FROM pg_class WHERE relname = 'pg_class') = 1) };
my $after    = sub { "SELECT 1 / CAST(c.ok IS NULL AS int) FROM $_[0]{from} AS c" };
my $alone    = sub { "SELECT $_[0]{expr}, 1 / (SELECT 0 FROM pg_class WHERE relname = 'pg_class')" };
my $failing  = sub { "SELECT c.ok FROM $_[0]{inside} AS c" };
my $on_error = 'SET log_parameter_max_length_on_error = -1';
my @bound    = qw(untyped secret binary text bytea);
my @ways     = (ways => [qw(simple extended execute)]);
my $fails    = { sql => $before, state => '22012' };

row('log, by default',
	@ways,
	control => { ways => undef, run => sub {
		$_[0]->must(qq(DO \$\$BEGIN RAISE LOG '$_[3]'; END\$\$));
		return;
	} });
row('`log_statement`', @ways, settings => [q(SET log_statement = 'all')]);
row('`log_min_duration_statement`', @ways, settings => ['SET log_min_duration_statement = 0']);
row('both, `log_parameter_max_length = 0`', @ways,
	settings => [ q(SET log_statement = 'all'), 'SET log_min_duration_statement = 0', 'SET log_parameter_max_length = 0' ]);
row('STATEMENT line: syntax error', sql => sub { plain($_[0]) . ' WHERE' }, state => '42601');
row('STATEMENT line: error before the function runs', @ways, %$fails, uses => \@commands);
row('STATEMENT line: error before the function runs', @ways,
	uses => [ map { { %$_, settings => ['SET ROLE nobody'] } } @commands ],
	state => '42501', control => $fails);
row('STATEMENT line: error after it', @ways, uses => \@commands, sql => $after, state => '22012');
row('STATEMENT line: error beside a constructor or a cast alone', @ways, uses => \@immutable, sql => $alone, state => '22012');
inside('STATEMENT line: error inside', control => $fails);
row('`log_parameter_max_length_on_error`: error before or after',
	%$fails, sql => $_, settings => [$on_error], columns => \@bound)
  for $before, $after;
inside('`log_parameter_max_length_on_error`: error inside',
	columns => \@bound, settings => [$on_error], control => $fails);

# Errors inside: somebody's trigger raises one, or there is a lock to wait for.
sub inside
{
	my ($label, %opt) = @_;

	$admin->must(q(CREATE FUNCTION dba() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no'; END$$;
		CREATE TRIGGER dba BEFORE INSERT OR UPDATE ON provconn.connection FOR EACH ROW EXECUTE FUNCTION dba()));
	row($label, sql => $failing, state => 'P0001', uses => \@commands, %opt);
	$admin->must('DROP FUNCTION dba() CASCADE');
	$admin->must('BEGIN');
	$admin->must('SELECT FROM provconn.connection FOR UPDATE');
	row($label, sql => $failing, state => '55P03',
		uses => [ map { { %$_, settings => [q(SET lock_timeout = '5ms')] } } grep { $_->{name} !~ /connect/ } @commands ], %opt);
	$admin->must('ROLLBACK');
	return;
}

# Errors and refusals of provconn's own.
{
	my $own = 'errors of provconn, parameters on error';
	my %more = (control => $fails,
		settings => [ $on_error, 'SET log_min_error_statement = debug5' ]);
	my @refused = (
		take(0, 'provconn_connect', "provconn_connect(provconn_connect_command($user, $acme, 'wrong', %c))"),
		take(1, 'provconn_refresh', "provconn_refresh(provconn_refresh_command($user, %c))"),
		take(2, 'provconn_reauthenticate', "provconn_reauthenticate($user, '$target', %c)"),
		take(3, 'provconn_refresh_batch', "provconn_refresh_batch(ARRAY[provconn_refresh_command($user, %c)])"));
	my %state = (provconn_connect => 'PV003', provconn_reauthenticate => 'PV013');

	row($own, %more, uses => [ map { { %$_, settings => [q(SET provconn.key_file = '/nonexistent')] } } @commands ],
		sql => $failing, state => 'PV101');
	row($own, %more, uses => [$_], sql => sub { "SELECT provconn_unwrap(c) FROM $_[0]{from} AS c" },
		state => $state{ $_->{name} =~ s/\(.*//r } || 'PV010')
	  for @refused;
	row($own, %more, uses => [ { %{ $constructors[3] }, value => sub { "$_[0] is no JSON" } } ],
		sql => sub { "SELECT $_[0]{expr}" }, state => '22023');
}

# Text that is no composite is in the message of PostgreSQL's own error.
row('malformed composite as text',
	uses    => [ map { { name => $_ } } qw(provconn_credentials provconn_connect_command provconn_refresh_command) ],
	columns => [qw(literal untyped text)],
	run     => sub {
		my ($session, $column, $use, $canary) = @_;
		my $type = $use->{name} eq 'control' ? 'pair' : $use->{name};

		start($session, $column, $column eq 'text' ? "SELECT CAST(CAST(%s AS text) AS $type)" : "SELECT CAST(%s AS $type)", "($canary");
		outcome($session->finish, '22P02', "$use->{name}, $column");
		return;
	});
row('composite as text',
	uses     => [ { name => 'provconn_credentials' } ],
	columns  => [qw(literal untyped secret binary text)],
	settings => [q(SET log_statement = 'all')],
	run      => sub {
		my ($session, $column, $use, $canary) = @_;
		my $sql = "SELECT ok FROM provconn_connect(provconn_connect_command($user, $acme, 'acme', CAST(%s AS provconn_credentials)))";
		my ($credentials, $enum) = map { $admin->value("SELECT '$_'::regtype::oid") } qw(provconn_credentials provconn_credential_type);
		my $text = "($canary,custom,)";

		if ($use->{name} eq 'control') { start($session, 'text', 'SELECT CAST(CAST(%s AS text) AS pair)', "($canary,)") }
		elsif ($column eq 'secret') { $session->start_bound($sql =~ s/%s/\$1/r, [ $credentials, 0, $text ]) }
		elsif ($column eq 'binary')
		{
			$session->start_bound($sql =~ s/%s/\$1/r, [ $credentials, 1,
				pack('N N N/a* N N/a* N N', 3, $oid, $canary, $enum, 'custom', 1184, 0xffffffff) ]);
		}
		else { start($session, $column, $column eq 'text' ? $sql =~ s/%s/CAST(%s AS text)/r : $sql, $text) }
		outcome($session->finish, undef, "composite, $column");
		return;
	});

# Plans: since PostgreSQL 16 auto_explain logs the parameters, too.
my @logged = ('SET auto_explain.log_min_duration = 0');
row('auto_explain', settings => \@logged, since => { text => 16, bytea => 16 });
row('auto_explain, generic plan',
	settings => [ @logged, 'SET plan_cache_mode = force_generic_plan' ],
	since    => { text => 16, bytea => 16 },
	run      => sub {
		my ($session, $column, $use, $canary) = @_;
		my $value = value($use, $canary);
		my $parameter = $column eq 'literal' ? undef : $bind{$column}->($value);
		my $sql = plain($use) =~ s/%s/$parameter ? '$1' : "'$value'"/er;

		outcome($session->prepare('', $sql, $parameter ? $parameter->[0] : ()), undef, 'parse');
		outcome($session->execute('', $parameter ? $parameter : ()), undef, "$use->{name}, $column");
		return;
	});
$admin->must(q(CREATE FUNCTION dba() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM FROM pg_class LIMIT 1; RETURN NEW; END$$;
	CREATE TRIGGER dba BEFORE INSERT OR UPDATE ON provconn.connection FOR EACH ROW EXECUTE FUNCTION dba()));
row('auto_explain, statement inside, parameters on error',
	uses => \@commands, columns => \@bound,
	settings => [ @logged, 'SET auto_explain.log_nested_statements = on', $on_error ],
	control => { sql => sub { 'SELECT nested(%s)' } });
$admin->must('DROP FUNCTION dba() CASCADE');
row('auto_explain, `EXECUTE … USING` in a function that takes `provconn_secret`',
	settings => [ @logged, 'SET auto_explain.log_nested_statements = on' ],
	uses     => [ { name => 'wrapper', from => '(SELECT wrapper_provconn_secret(%s) AS ok OFFSET 0)' } ],
	since    => { text => 16, bytea => 16 });
row('EXPLAIN VERBOSE',
	place => 'explain',
	run   => run_rows(sub { 'EXPLAIN (VERBOSE, COSTS OFF) ' . plain($_[0]) }),
	control => { run => run_rows(sub { 'EXPLAIN (VERBOSE, COSTS OFF) SELECT CAST(%s AS text)' }) });
row('EXPLAIN VERBOSE, generic plan',
	place    => 'explain',
	columns  => [qw(literal untyped secret text bytea)],
	settings => ['SET plan_cache_mode = force_generic_plan'],
	run      => sub {
		my ($session, $column, $use, $canary) = @_;
		my $value = value($use, $canary);
		my $type = $type_of{$column} ? "($type_of{$column})" : '';
		my $literal = $column eq 'literal';

		$session->must("PREPARE p$type AS " . ($use->{name} eq 'control' ? 'SELECT CAST(%s AS text)' : plain($use))
			  =~ s/%s/$literal ? "'$value'" : '$1'/er);
		my $result = outcome($session->query('EXPLAIN (VERBOSE, COSTS OFF) EXECUTE p' . ($literal ? '' : "('$value')")),
			undef, "$use->{name}, $column");
		$session->must('DEALLOCATE p');
		return join("\n", map { $_->[0] } @{ $result->{rows} });
	});

# Functions of the user's, and JSON.
sub wrapper
{
	my ($type) = @_;

	return "CREATE FUNCTION wrapper_$type(secret $type) RETURNS boolean LANGUAGE plpgsql AS \$\$
DECLARE
	accepted boolean;
BEGIN
	EXECUTE \$q\$SELECT ok FROM provconn_connect(provconn_connect_command(
		$user, $acme, 'acme', provconn_credentials(\$1, 'custom')))\$q\$ INTO accepted USING secret;
	RETURN accepted;
END \$\$";
}
row('function of yours that takes `text`, `log_statement`',
	uses     => [ { name => 'wrapper', from => '(SELECT wrapper_text(%s) AS ok OFFSET 0)' } ],
	columns  => [qw(literal untyped text)],
	settings => [q(SET log_statement = 'all')]);
row('function of yours that takes `provconn_secret`, `log_statement`',
	uses     => [ { name => 'wrapper', from => '(SELECT wrapper_provconn_secret(%s) AS ok OFFSET 0)' } ],
	settings => [q(SET log_statement = 'all')]);
row('`json` and `jsonb`, `log_statement`',
	uses     => [ map { { name => $_, expr => "provconn_token_response(CAST(%s AS $_))" } } qw(json jsonb) ],
	columns  => [qw(literal untyped text)],
	settings => [q(SET log_statement = 'all')],
	run      => sub {
		my ($session, $column, $use, $canary) = @_;
		my $value = qq({"access_token": "$canary"});
		my $sql = "SELECT $use->{expr}";

		$sql =~ s/%s/CAST(%s AS text)/ if $column eq 'text';
		start($session, $column, $sql, $value);
		outcome($session->finish, undef, "JSON, $column");
		return;
	});

# --- views of the server ----------------------------------------------------

my $activity = q(SELECT string_agg(a::text, E'\n') FROM pg_stat_activity AS a WHERE pid = );
row('`pg_stat_activity`, while the statement runs', @ways,
	place => 'activity',
	uses  => \@commands,
	run   => sub {
		my ($session, $column, $use, $canary, $way) = @_;

		start_sleeping($session, $column, $use, $canary, $way);
		my $seen = $admin->value($activity . $session->pid);
		$session->cancel;
		outcome($session->finish, '57014', "$use->{name}, $column");
		return $seen;
	});
row('`pg_stat_activity`, afterwards', @ways,
	place => 'activity',
	uses  => \@commands,
	run   => sub {
		my ($session, $column, $use, $canary) = @_;

		statement(\&plain)->(@_);
		return $admin->value($activity . $session->pid);
	});

row('`pg_stat_activity`, a constructor or a cast alone', @ways,
	place => 'activity',
	uses  => \@immutable,
	run   => sub {
		my ($session) = @_;

		statement(sub { "SELECT $_[0]{expr}" })->(@_);
		return $admin->value($activity . $session->pid);
	});

# What follows the function in the same statement sleeps.
sub start_sleeping
{
	my ($session, $column, $use, $canary, $way, $watch) = @_;

	start($session, $column, "SELECT c.ok, pg_sleep(600) FROM $use->{from} AS c", value($use, $canary), $way);
	ProvconnNode::wait_until(
		sub { ($watch || $admin)->value(q(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND pid = ) . $session->pid) > 0 })
	  or die "$use->{name} did not sleep\n";
	return;
}

my $statements = q(SELECT string_agg(query, E'\n') FROM pg_stat_statements);
my $do = sub {
	my ($session, $column, $use, $canary) = @_;
	my $sql = plain($use) =~ s/%s/"'" . value($use, $canary) . "'"/er;

	$admin->must('SELECT pg_stat_statements_reset()');
	outcome($session->query("DO \$\$BEGIN PERFORM 1 FROM ($sql) AS d; END\$\$"), undef, $use->{name});
	return $admin->value($statements);
};
row('`pg_stat_statements`',
	place => 'statements',
	run   => sub {
		$admin->must('SELECT pg_stat_statements_reset()');
		statement(\&plain)->(@_);
		return $admin->value($statements);
	},
	control => { run => $do, plain => ['literal'] });
row('`pg_stat_statements`, in a DO block', place => 'statements', columns => ['literal'], run => $do);

# Two sessions in a deadlock: the log shows what each of them was running.
row('DETAIL of a deadlock',
	run => sub {
		my ($session, $column, $use, $canary) = @_;
		my $other = ProvconnNode::session($node);

		$session->must('BEGIN; SELECT pg_advisory_xact_lock(1)');
		$other->must('BEGIN; SELECT pg_advisory_xact_lock(2)');
		start($session, $column, "SELECT c.ok, pg_advisory_xact_lock(2) FROM $use->{from} AS c", value($use, $canary));
		ProvconnNode::wait_until(sub { $admin->value('SELECT count(*) FROM pg_locks WHERE NOT granted') > 0 });
		my $blocked = $other->query('SELECT pg_advisory_xact_lock(1)');
		$other->close;
		my $result = $session->finish;
		$session->must('ROLLBACK');
		fail("$use->{name}, $column: a deadlock") if ($blocked->{error} || $result->{error} || { C => '' })->{C} ne '40P01';
		return;
	});

# --- files ------------------------------------------------------------------

# What a cursor has sorted on disk, or keeps there, can be read while it is open.
row('temporary files of a sort',
	place => 'temporary',
	uses  => \@makers,
	run   => sub {
		my ($session, $column, $use, $canary) = @_;

		$session->must(q(SET work_mem = '64kB'));
		$session->must('BEGIN');
		start($session, $column, 'DECLARE c CURSOR FOR ' . sorted($use), value($use, $canary));
		outcome($session->finish, undef, "$use->{name}, $column");
		outcome($session->query('FETCH 1 FROM c'), undef, 'fetch');
		my $seen = ProvconnNode::temporary_files($node);
		$session->must('ROLLBACK');
		return $seen;
	});
row('temporary files of a cursor WITH HOLD',
	place => 'temporary',
	uses  => \@makers,
	run   => sub {
		my ($session, $column, $use, $canary) = @_;

		$session->must(q(SET work_mem = '64kB'));
		start($session, $column, "DECLARE c CURSOR WITH HOLD FOR SELECT n, $use->{expr} FROM generate_series(1, 2000) AS n", value($use, $canary));
		outcome($session->finish, undef, "$use->{name}, $column");
		my $seen = ProvconnNode::temporary_files($node);
		$session->must('CLOSE c');
		return $seen;
	});

sub sorted
{
	my ($use) = @_;

	return "SELECT * FROM (SELECT n, $use->{expr} AS s FROM generate_series(1, 3000) AS n OFFSET 0) AS a ORDER BY (n * 7919) % 20011";
}

my @stored = ([ 'WAL' => 'wal' ], [ 'data directory' => 'data' ]);
for (@stored)
{
	my ($label, $place) = @$_;
	my %more = (
		place   => $place,
		control => { sql => sub { 'INSERT INTO control VALUES (%s)' } });

	row($label, uses => \@commands, %more);
	row($label, uses => \@commands, %more, run => sub {
		my ($session) = @_;

		$session->must('BEGIN');
		statement(\&plain)->(@_);
		$session->must('ROLLBACK');
		return;
	});
}
row('column of type `provconn_secret`, data directory and WAL',
	place => 'data wal',
	uses  => \@makers,
	sql   => sub { "INSERT INTO misuse (" . ($_[0] == $cast ? 's' : 'c') . ") SELECT $_[0]{expr}" },
	control => { sql => sub { 'INSERT INTO control VALUES (%s)' } });
my $views = 0;
row('literal in a view',
	place   => 'catalog data',
	columns => ['literal'],
	uses    => \@makers,
	run     => sub {
		my ($session, $column, $use, $canary) = @_;

		$views++;
		$session->must("CREATE VIEW v$views AS SELECT $use->{expr} AS s" =~ s/%s/"'" . value($use, $canary) . "'"/er);
		return $admin->value("SELECT ev_action::text || pg_get_viewdef(ev_class) FROM pg_rewrite WHERE ev_class = 'v$views'::regclass");
	});
row('literal in the body of a function',
	place   => 'catalog data',
	columns => ['literal'],
	uses    => \@makers,
	run     => sub {
		my ($session, $column, $use, $canary) = @_;

		$views++;
		$session->must("CREATE FUNCTION f$views() RETURNS void LANGUAGE sql AS \$\$SELECT $use->{expr}; SELECT\$\$" =~ s/%s/"'" . value($use, $canary) . "'"/er);
		return $admin->value("SELECT prosrc FROM pg_proc WHERE proname = 'f$views'");
	});

# Equal secrets, and the order of others, told by comparing rows as bytes.  Each time
# the first one is made first; the second is greater every other time.
{
	for my $operator ('*=', '*<')
	{
		my $row = $table->row('comparison of records' . ($operator eq '*=' ? ', `*=`' : ', `*<`'));
		my $session = ProvconnNode::session($node);

		for my $use (@makers, $control)
		{
			for my $column ($use == $control ? 'text' : @columns)
			{
				my $as_told = 1;

				for my $n (1 .. 24)
				{
					my ($a, $b) = map { value($use, sprintf('%c-secret-%03d', $_, $n)) } $operator eq '*=' ? (97, 97) : $n % 2 ? (97, 98) : (98, 97);
					my $expression = $use->{expr};
					my $value = $column eq 'literal' ? undef : $bind{$column};
					my $sql = 'SELECT a ' . $operator . ' b FROM (SELECT ' . ($expression =~ s/%s/$value ? '$1' : "'$a'"/er)
					  . ') AS a, (SELECT ' . ($expression =~ s/%s/$value ? '$2' : "'$b'"/er) . ') AS b';
					my $result = $value ? $session->bound($sql, map { $value->($_) } $a, $b) : $session->query($sql);

					outcome($result, undef, "$use->{name}, $column") if $result->{error};
					$as_told &&= ($result->{rows}[0][0] // '') eq ($operator eq '*=' || $n % 2 ? 't' : 'f');
				}
				$use == $control ? $table->saw_control($row, $as_told) : $table->saw($row, $column, 'simple', $use->{name}, $as_told);
			}
		}
		$session->close;
	}
}

# --- secrets that come out --------------------------------------------------

my $returned = ProvconnTable->new(
	name     => 'returned secrets table',
	canaries => $canaries,
	major    => $major,
	head     => 'way out',
	columns  => [ [ reveal => '`provconn_reveal`' ], [ claim => '`provconn_claim_due`' ] ]);

# The secret is "s" of an item of FROM; the control's is no secret.
sub out
{
	my ($label, %opt) = @_;
	my $row = $returned->row($label, %{ $opt{since} || {} });
	my @places = split(' ', $opt{place} || 'log');

	for my $column (qw(reveal claim control))
	{
		my $canary = $canaries->hatch("$label, $column");
		my $session = ProvconnNode::session($node);
		my %how = $column eq 'control' ? (%opt, %{ $opt{control} || {} }) : %opt;
		my $value = $opt{large} ? join(' ', ($canary) x 1000) : $canary;
		my $from;

		if ($column eq 'control')
		{
			$from = "(SELECT CAST('$value' AS text) AS s OFFSET 0)";
		}
		else
		{
			my $connection = $admin->value(
				"SELECT connection_id FROM provconn_connect(provconn_connect_command($user, $acme, 'acme', provconn_oauth2_credentials(\$1, 'r', \$2)))",
				[ $oid, 1, $value ], [ 0, 0, $column eq 'claim' ? '2000-01-01' : 'infinity' ]);
			$from = "(SELECT secret_text AS s FROM "
			  . ($column eq 'claim' ? q(provconn_claim_due('w')) : "provconn_reveal($user, '$connection')") . ' OFFSET 0)';
		}
		$session->must($_) for @{ $how{settings} || [] };
		my $seen;
		if ($how{run}) { $seen = $how{run}->($session, $from) }
		else { outcome($session->query($how{sql}->($from)), $how{state}, "$label, $column") }
		$canaries->search_text($places[0], \$seen) if defined $seen;
		$column eq 'control' ? $returned->saw_control($row, $canary, @places)
		  : $returned->saw($row, $column, 'simple', $column, $canary, @places);
		$session->close;
		# what an error has left unclaimed is not to be claimed next
		$admin->must(q(SELECT FROM provconn_connections AS c, provconn_mark_revoked(c.connection_id) WHERE c.status = 'active' AND c.expires_at < now()));
	}
	return;
}

my $s = sub { "SELECT c.s FROM $_[0] AS c" };
my $plainly = sub {
	my ($session, $from) = @_;

	outcome($session->query($s->($from)));
	return;
};

out('`log_statement`, `log_min_duration_statement`',
	sql => $s, settings => [ q(SET log_statement = 'all'), 'SET log_min_duration_statement = 0' ]);
out('error beside the function, parameters on error',
	sql => sub { $s->($_[0]) . q( WHERE length(c.s) / (SELECT 0 FROM pg_class WHERE relname = 'pg_class') = 1) },
	state => '22012', settings => [$on_error]);
out('error that quotes its value, as a cast does',
	sql => sub { "SELECT CAST(c.s AS int) FROM $_[0] AS c" }, state => '22P02');
out('auto_explain', sql => $s, settings => \@logged);
for (
	[ '`EXECUTE … USING`',       q(EXECUTE 'SELECT echo($1)' INTO t USING t) ],
	[ 'a statement',             'SELECT echo(t) INTO t FROM pg_class LIMIT 1' ],
	[ 'an assignment',           't := echo(t)' ])
{
	my ($what, $body) = @$_;

	out("auto_explain, $what in PL/pgSQL",
		settings => [ @logged, 'SET auto_explain.log_nested_statements = on' ],
		run      => sub {
			my ($session, $from) = @_;

			$session->must(qq(CREATE OR REPLACE FUNCTION pg_temp.user_of_it() RETURNS text LANGUAGE plpgsql AS \$\$
DECLARE
	t text;
BEGIN
	SELECT c.s INTO t FROM $from AS c;
	$body;
	RETURN NULL;
END \$\$));
			outcome($session->query('SELECT pg_temp.user_of_it()'));
			return;
		},
		control => { run => $plainly });
}
out('EXPLAIN (ANALYZE, VERBOSE)',
	place => 'explain',
	run   => sub {
		my ($session, $from) = @_;

		return join("\n", map { $_->[0] } @{ outcome($session->query('EXPLAIN (ANALYZE, VERBOSE) ' . $s->($from)))->{rows} });
	});
out('`pg_stat_activity`',
	place => 'activity',
	run   => sub {
		my ($session, $from) = @_;

		$session->start_query("SELECT c.s, pg_sleep(600) FROM $from AS c");
		ProvconnNode::wait_until(sub { $admin->value(q(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep')) > 0 });
		my $seen = $admin->value($activity . $session->pid);
		$session->cancel;
		outcome($session->finish, '57014');
		return $seen;
	});
out('`pg_stat_statements`',
	place => 'statements',
	run   => sub {
		my ($session, $from) = @_;

		$admin->must('SELECT pg_stat_statements_reset()');
		$session->must("DO \$\$BEGIN PERFORM d.s FROM ($_) AS d; END\$\$") for $s->($from);
		return $admin->value($statements);
	});
out('temporary files of the function\'s own',
	place => 'temporary',
	large => 1,
	run   => cursor('DECLARE c CURSOR FOR SELECT c.s FROM %f AS c'),
	control => { run => cursor('DECLARE c CURSOR FOR SELECT c.s FROM %f AS c, generate_series(1, 200) AS n ORDER BY (n * 7919) % 20011') });
out('temporary files of your sort',
	place => 'temporary',
	large => 1,
	run   => cursor('DECLARE c CURSOR FOR SELECT c.s FROM %f AS c, generate_series(1, 200) AS n ORDER BY (n * 7919) % 20011'));
out('temporary files of your cursor WITH HOLD',
	place => 'temporary',
	large => 1,
	run   => cursor('DECLARE c CURSOR WITH HOLD FOR SELECT c.s FROM %f AS c, generate_series(1, 200) AS n'));
out('WAL and data directory',
	place => 'wal data',
	sql   => $s,
	control => { sql => sub { "INSERT INTO control SELECT c.s FROM $_[0] AS c" } });
my $copies = 0;
out('WAL and data directory, CREATE TABLE AS',
	place => 'wal data',
	sql   => sub { 'CREATE TABLE copy' . $copies++ . " AS SELECT c.s FROM $_[0] AS c" });

sub cursor
{
	my ($declare) = @_;

	return sub {
		my ($session, $from) = @_;

		$session->must(q(SET work_mem = '64kB'));
		$session->must('BEGIN');
		$session->must($declare =~ s/%f/$from/r);
		$session->must('FETCH 1 FROM c') if $declare !~ /WITH HOLD/;
		$session->must('COMMIT') if $declare =~ /WITH HOLD/;
		return ProvconnNode::temporary_files($node);
	};
}

# --- last, since it ends every session: a backend that dies ------------------

# The postmaster logs what the backend was running.
row('line on a crash', run => \&crash);

sub crash
{
	my ($dead, $column, $use, $canary) = @_;
	my $session = ProvconnNode::session($node);
	my $watch = ProvconnNode::session($node);
	my $size = ProvconnNode::log_size($node);

	start_sleeping($session, $column, $use, $canary, 'simple', $watch);
	kill 'SEGV', $session->pid;
	eval { $session->finish };
	ProvconnNode::wait_until(sub { ProvconnNode::log_since($node, $size) =~ /ready to accept connections/ })
	  or die "the server did not come back\n";
	return;
}

$node->safe_psql('postgres', 'CHECKPOINT');
$node->stop;
my $log = ProvconnNode::log_since($node, 0);
$canaries->search_text('log', \$log);
$canaries->search_files('wal', $node->data_dir . '/pg_wal');
$canaries->search_files('data', $node->data_dir, qr{/pg_wal/});

my $document = "$FindBin::RealBin/../../doc/security.md";
$_->check($document) for $table, $returned;
note($canaries->count . ' canaries');
cmp_ok($canaries->count, '>', 1000, 'every cell was tried');

done_testing();

sub new_connection
{
	my ($alias) = @_;

	return $admin->value(
		"SELECT connection_id FROM provconn_connect(provconn_connect_command($user, $acme, 'acme',"
		  . " provconn_oauth2_credentials('first', 'r'), '$alias'))");
}
