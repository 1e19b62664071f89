# A dump, in each of its formats, restores into a new database without a word, and
# what comes out is what went in: rows, months, triggers, rights, secrets, seals.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use ProvconnNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = ProvconnNode::make('main', conf => 'log_statement = none');
my $directory = PostgreSQL::Test::Utils::tempdir();
my $acme  = q('00000000-0000-4000-8000-0000000000aa');
my $other = q('00000000-0000-4000-8000-0000000000bb');
my $user  = q('00000000-0000-4000-8000-000000000001');
my $erased = q('00000000-0000-4000-8000-000000000002');
my $key   = q('00000000-0000-4000-8000-00000000000e');
my @tables = qw(provider data_key connection idempotency audit seal seal_key archive role_grant capability);
my %formats = (
	plain     => { dump => ['-Fp'], restore => undef },
	custom    => { dump => ['-Fc'], restore => [] },
	parallel  => { dump => [ '-Fd', '-j2' ], restore => ['-j2'] },
	'in one transaction' => { dump => ['-Fc'], restore => ['--single-transaction'] });

$node->safe_psql('postgres', "CREATE ROLE $_ LOGIN") for ('app', 'clerk', 'watcher', '"odd name"');

# A source with rows of every kind.  The functions are in $schema.
sub make_source
{
	my ($name, $schema) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $name");
	my $session = ProvconnNode::session($node, dbname => $name);
	$session->must("CREATE SCHEMA IF NOT EXISTS $schema; GRANT USAGE ON SCHEMA $schema TO PUBLIC; SET search_path = $schema, public");
	$session->must("CREATE EXTENSION pgcrypto; CREATE EXTENSION provconn SCHEMA $schema");
	$session->must("SELECT provconn_register_provider('acme', 'Acme', 'oauth2', 'bank', $acme), provconn_register_provider('other', 'Other', 'custom', NULL, $other)");
	$session->must("SELECT provconn_grant('app', 'application'), provconn_grant('app', 'secrets'), provconn_grant('watcher', 'auditor'), provconn_grant('\"odd name\"', 'reader')");

	# a second data key: made while the first was not committed
	my $second = ProvconnNode::session($node, dbname => $name);
	$second->must("SET search_path = $schema, public");
	$second->must("SELECT provconn_initiate($user, $acme, 'acme', 'pending')");
	$session->must('BEGIN');
	$session->must(connect_sql('one', 'first'));
	$second->must(connect_sql('two', 'second'));
	$session->must('COMMIT');

	# data keys are two; what follows is sealed with the one or the other
	$session->must(connect_sql("line\\n\ttab 'quote' \\\\ back", 'odd "alias", with \\ and tab' . "\t"));
	$session->must(connect_sql('x' x 100000, 'large'));
	$session->must("SELECT provconn_connect(provconn_connect_command($user, $other, 'other', provconn_credentials('\\x00ff80'::bytea, 'custom', 'infinity')), $key)");
	$session->must("SELECT provconn_connect(provconn_connect_command($user, $acme, 'acme', provconn_token_response('{\"access_token\": \"a\", \"refresh_token\": \"r\", \"expires_in\": 60}'), 'token'))");
	$session->must(refresh_sql('token', '{"access_token":"b"}'));
	$session->must('SELECT provconn_seal_audit()');
	$session->must(refresh_sql('pending', 'refused'));
	$session->must(q(SELECT provconn_disconnect(provconn_disconnect_command(user_id, connection_id)) FROM provconn_connections WHERE alias = 'second'));
	$session->must(q(UPDATE provconn.connection SET metadata = '{"by": "dba"}' WHERE alias = 'first'));
	$session->must(q(SELECT provconn_reveal(user_id, connection_id, 'audit''s "purpose"') FROM provconn_connections));
	$session->must("SELECT provconn_set_provider_active($other, false)");
	ProvconnNode::make_old_month($session);
	my $digest = $session->value('SELECT provconn_seal_audit()');
	# and some rows that no seal has
	$session->must("SELECT provconn_initiate($user, $acme, 'acme', 'not sealed')");
	$session->close;
	$second->close;
	return $digest;
}

sub connect_sql
{
	my ($secret, $alias) = @_;

	return sprintf("SELECT provconn_connect(provconn_connect_command($user, $acme, 'acme', provconn_credentials(%s, 'custom'), %s))",
		map { (my $text = $_) =~ s/'/''/g; "'$text'" } ($secret, $alias));
}

sub refresh_sql
{
	my ($alias, $secret) = @_;

	return "SELECT ok FROM provconn_refresh(provconn_refresh_command((SELECT connection_id FROM provconn_connections WHERE alias = '$alias'),"
	  . " provconn_credentials('$secret', 'oauth2')))";
}

# All that a database holds, as text: rows, then what guards them.
sub contents
{
	my ($name) = @_;
	my $sql = sub { $node->safe_psql($name, "SET search_path = pg_catalog; $_[0]") };
	my %contents;

	$contents{$_} = $sql->("SELECT t::text FROM provconn.$_ AS t ORDER BY t::text COLLATE \"C\"") for @tables;
	$contents{months} = $sql->(q(SELECT inhrelid::regclass, pg_get_expr(relpartbound, inhrelid), relacl,
		(SELECT count(*) FROM ONLY provconn.audit), obj_description(inhrelid, 'pg_class')
		FROM pg_inherits JOIN pg_class AS c ON c.oid = inhrelid WHERE inhparent = 'provconn.audit'::regclass ORDER BY inhrelid::regclass::text));
	$contents{triggers} = $sql->(q(SELECT tgrelid::regclass, tgname, tgenabled, tgtype, tgfoid::regproc
		FROM pg_trigger WHERE tgrelid::regclass::text LIKE 'provconn.%' ORDER BY tgrelid::regclass::text, tgname));
	$contents{indexes} = $sql->(q(SELECT pg_get_indexdef(indexrelid), indisprimary, indisvalid
		FROM pg_index WHERE indrelid::regclass::text LIKE 'provconn.%' ORDER BY 1));
	$contents{rights} = $sql->(q(SELECT p.oid::regprocedure::text, array(SELECT a::text FROM unnest(proacl) AS a ORDER BY 1)
		FROM pg_proc AS p WHERE proname LIKE 'provconn%'
		UNION ALL SELECT c.oid::regclass::text, array(SELECT a::text FROM unnest(relacl) AS a ORDER BY 1)
		FROM pg_class AS c WHERE relname LIKE 'provconn%' AND relnamespace <> 'pg_toast'::regnamespace OR relnamespace = 'provconn'::regnamespace ORDER BY 1));
	$contents{members} = $sql->(q(SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend
		WHERE refobjid = (SELECT oid FROM pg_extension WHERE extname = 'provconn') AND deptype = 'e' ORDER BY 1));
	return \%contents;
}

# Compares texts of many lines, and shows those that differ.
sub is_same
{
	my ($got, $expected, $name) = @_;
	my %got = map { $_ => 1 } split(/\n/, $got);
	my %expected = map { $_ => 1 } split(/\n/, $expected);

	ok($got eq $expected, $name)
	  or diag(join("\n", map({ "got      $_" } grep { !$expected{$_} } sort keys %got),
			map({ "expected $_" } grep { !$got{$_} } sort keys %expected)));
	return;
}

# What there is to say of the audit: problems, and what came in past the guards.
sub verify
{
	my ($name, $schema, $digest, $severity) = @_;

	return $node->safe_psql($name, "SET search_path = $schema; SELECT * FROM (SELECT problem, CASE problem"
		  . q( WHEN 'restored' THEN replace(substring(detail FROM '^rows into provconn\.\w+'), 'rows into provconn.', '')
			WHEN 'foreign' THEN substring(detail FROM '^\d+ rows of another database') ELSE detail END AS what)
		  . " FROM provconn_verify_audit('$digest') WHERE severity = '$severity') AS f ORDER BY problem COLLATE \"C\", what COLLATE \"C\"");
}

# Secrets by alias; revealing leaves traces, so this comes after the comparison.
sub secrets
{
	my ($name, $schema) = @_;

	return $node->safe_psql($name, "SET search_path = $schema; " . q(SELECT c.alias, c.version, coalesce(encode(r.secret, 'hex'), r.error_code), r.expires_at
		FROM provconn_connections AS c, provconn_reveal(c.user_id, c.connection_id) AS r ORDER BY c.alias, c.version, c.connection_id));
}

my %hold = (public => 'source', api => 'source_in_api');
for my $schema (sort keys %hold)
{
	my $source = $hold{$schema};

	my $digest = make_source($source, $schema);
	my $secrets_of_source = secrets($source, $schema);
	my $expected = contents($source);
	cmp_ok($node->safe_psql($source, 'SELECT count(*) FROM provconn.audit'), '>', 25, "$source has an audit");
	is($node->safe_psql($source, 'SELECT count(*) FROM provconn.data_key'), '2', "$source has two data keys");
	is($node->safe_psql($source, 'SELECT count(*) FROM provconn.seal'), '2', "$source has two seals");
	is(verify($source, $schema, $digest, $_), '', "$source: its audit verifies, with no $_") for ('problem', 'notice');
	my $rows = $node->safe_psql($source, 'SELECT count(*) FROM provconn.audit');
	# a month gets its rows before its triggers
	my $imported = "restored|archive\nrestored|connection\nrestored|seal";

	for my $format (sort keys %formats)
	{
		(my $target = "${source}_$format") =~ tr/ /_/;
		my $dump = "$directory/$target";
		my $how  = $formats{$format};
		my $name = "$schema, $format";
		my ($stdout, $stderr);

		$node->command_ok([ 'pg_dump', @{ $how->{dump} }, '-f', $dump, $node->connstr($source) ], "$name: pg_dump");
		$node->safe_psql('postgres', "CREATE DATABASE $target");
		my @command =
		  $how->{restore}
		  ? ('pg_restore', '--exit-on-error', @{ $how->{restore} }, '-d', $node->connstr($target), $dump)
		  : ('psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($target), '-f', $dump);
		my $ok = IPC::Run::run(\@command, '>', \$stdout, '2>', \$stderr);
		ok($ok, "$name: restored") or diag($stderr);
		is($stderr, '', "$name: without a word");

		my $got = contents($target);
		is_same($got->{$_}, $expected->{$_}, "$name: $_") for sort keys %$expected;
		is(verify($target, $schema, $digest, 'problem'), '', "$name: the audit verifies, by the digest of the original");
		is(verify($target, $schema, $digest, 'notice'), "foreign|$rows rows of another database\n$imported",
			"$name: and is known to be restored");

		# It lives on.
		is(secrets($target, $schema), $secrets_of_source, "$name: the secrets open");
		my $app = ProvconnNode::session($node, dbname => $target, user => 'app');
		$app->must("SET search_path = $schema, public");
		is($app->value(refresh_sql('first', 'renewed')), 't', "$name: a role with a capability refreshes");
		is($app->value("SELECT secret_text FROM provconn_reveal($user, (SELECT connection_id FROM provconn_connections WHERE alias = 'first'))"),
			'renewed', "$name: and reveals");
		is($app->query('SELECT FROM provconn_audit_log')->{error}{C}, '42501', "$name: it has no other right");
		is($app->query('SELECT FROM provconn.connection')->{error}{C}, '42501', "$name: nor any on a table");
		my $repeat = $app->must("SELECT connection_id, version FROM provconn_connect(provconn_connect_command($user, $other, 'other', provconn_credentials('x', 'custom')), $key)");
		is_deeply($repeat->{rows},
			[ [ $node->safe_psql($source, "SELECT connection_id FROM provconn.idempotency"), '1' ] ],
			"$name: an idempotency key is remembered");
		$app->close;
		my $watcher = ProvconnNode::session($node, dbname => $target, user => 'watcher');
		$watcher->must("SET search_path = $schema, public");
		is($watcher->value("SELECT string_agg(action || ' ' || seq, ', ' ORDER BY seq) FROM provconn_audit_log WHERE seq IS NOT NULL"
				  . q( AND connection_id = (SELECT connection_id FROM provconn_audit_log WHERE action = 'direct'))),
			'connect 1, direct 2, refresh 3', "$name: the audit goes on where it was");
		$watcher->close;
		for my $round (1, 2)
		{
			my $mine = $node->safe_psql($target, "SET search_path = $schema; SELECT provconn_seal_audit()");

			is(verify($target, $schema, $_, 'problem'), '', "$name: sealed $round, it verifies by both digests") for ($digest, $mine);
			is($node->safe_psql($target, q(SELECT count(*), count(DISTINCT l.audit_id) FROM provconn.audit AS a
				FULL JOIN (SELECT l.audit_id FROM provconn.seal AS s, provconn.seal_leaves(s.leaves) AS l) AS l USING (audit_id))),
				$node->safe_psql($target, 'SELECT count(*), count(*) FROM provconn.audit'), "$name: sealed $round, each row is in one seal");
			is($node->safe_psql($target, 'SELECT max(seal_id) FROM provconn.seal'), 2 + $round, "$name: sealed $round, there is one more");
			my $once_more = ProvconnNode::session($node, dbname => $target, user => 'app');
			$once_more->must("SET search_path = $schema, public");
			$once_more->must("SELECT provconn_initiate($user, $acme, 'acme', 'after seal $round')");
			$once_more->close;
			is(verify($target, $schema, $digest, 'problem'), '', "$name: sealed $round, it verifies after another command");
		}
		for my $table ($node->safe_psql($target, q(SELECT string_agg(inhrelid::regclass::text, ' ') FROM pg_inherits WHERE inhparent = 'provconn.audit'::regclass
			AND inhrelid <> 'provconn.audit_2020_01'::regclass)) =~ /\S+/g)
		{
			my ($code, $out, $err) = $node->psql($target, "TRUNCATE $table", extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
			like($err, qr/PV110/, "$name: TRUNCATE $table");
		}

		# And a dump of it, before it lived on, would have been the same, but for the trace.
		next if $how->{restore};
		$node->safe_psql('postgres', "CREATE DATABASE ${target}_again");
		$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr("${target}_again"), '-f', $dump ], "$name: restored again");
		$node->command_ok([ 'pg_dump', '-f', "$dump.again", $node->connstr("${target}_again") ], "$name: dumped again");
		my ($first, $again) = map {
			my $text = slurp_file($_);
			$text =~ s/^(COPY provconn\.import .*?\n).*?(?=^\\\.$)/$1/ms or die "$_ has no imports";
			join("\n", grep { !/^\\(un)?restrict / } split(/\n/, $text))
		} ($dump, "$dump.again");
		ok($first eq $again, "$name: a dump of the copy is the dump of the original");
	}
}

# Keys that were rotated and retired, a user who was erased: they come back as they are.
$node->safe_psql('postgres', 'CREATE DATABASE rotated TEMPLATE source');
my $rotated = ProvconnNode::session($node, dbname => 'rotated');
$rotated->must("SELECT provconn_connect(provconn_connect_command($erased, $acme, 'acme', provconn_credentials('gone', 'custom'), 'erased'))");
$rotated->must($_)
  for (
	'SELECT provconn_rotate_key()', 'CALL provconn_reencrypt()',
	'SELECT provconn_retire_key(key_id) FROM provconn_keys ORDER BY key_id LIMIT 2',
	"SELECT provconn_erase_user($erased)", 'SELECT provconn_rotate_key()');
my $rotated_digest = $rotated->value('SELECT provconn_seal_audit()');
$rotated->close;
is(verify('rotated', 'public', $rotated_digest, 'problem'), '', 'rotated: the audit verifies');
my $rotated_contents = contents('rotated');
$node->command_ok([ 'pg_dump', '-f', "$directory/rotated", $node->connstr('rotated') ], 'rotated: dumped');
$node->safe_psql('postgres', 'CREATE DATABASE rotated_copy');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('rotated_copy'), '-f', "$directory/rotated" ], 'rotated: restored');
my $rotated_copy = contents('rotated_copy');
is_same($rotated_copy->{$_}, $rotated_contents->{$_}, "rotated: $_") for sort keys %$rotated_contents;
is(verify('rotated_copy', 'public', $rotated_digest, 'problem'), '', 'rotated: so does the copy');
is($node->safe_psql('rotated_copy', q(SELECT string_agg(concat_ws(' ', state, octet_length(wrapped)), ', ' ORDER BY key_id)
		FROM provconn_keys JOIN provconn.data_key USING (key_id))),
	'retired 0, retired 0, old 69, current 69', 'rotated: what was retired is gone for good');
is($node->safe_psql('rotated_copy', "SELECT string_agg(action, ' ') FROM provconn.audit WHERE $erased IN (user_id, owner_id)"),
	'erase_user', 'rotated: nobody who was erased comes back');
is(secrets('rotated_copy', 'public'), secrets('rotated', 'public'), 'rotated: the secrets open');
$node->safe_psql('rotated_copy', $_)
  for ('CALL provconn_reencrypt()', q(SELECT provconn_retire_key(key_id) FROM provconn_keys WHERE state = 'old'));
is(secrets('rotated_copy', 'public'), secrets('rotated', 'public'), 'rotated: the copy goes on with the rotation');

# Restored in a later month: the dump has months of long ago alone.
$node->safe_psql('postgres', 'CREATE DATABASE late TEMPLATE source');
my $late = ProvconnNode::session($node, dbname => 'late');
$late->must("DROP TABLE $_")
  for ($late->value(q(SELECT string_agg(inhrelid::regclass::text, ' ') FROM pg_inherits WHERE inhparent = 'provconn.audit'::regclass)) =~ /\S+/g);
ProvconnNode::make_old_month($late);
$late->close;
$node->command_ok([ 'pg_dump', '-f', "$directory/late", $node->connstr('late') ], 'late: dumped');
$node->safe_psql('postgres', 'CREATE DATABASE later');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('later'), '-f', "$directory/late" ], 'late: restored');
my @both = map { ProvconnNode::session($node, dbname => 'later', user => 'app') } (1, 2);
$_->start_query("SELECT status FROM provconn_initiate($user, $acme, 'acme')") for @both;
is(join(' ', map { $_->finish->{rows}[0][0] } @both), 'pending pending', 'late: two commands at once make the months');
is($node->safe_psql('later', 'SELECT count(*), count(*) FILTER (WHERE occurred_at < $$2021-01-01$$) FROM provconn.audit'),
	'3|1', 'late: nothing is lost');
like($node->safe_psql('later', q(SELECT string_agg(secret_text, ' ') FROM provconn_connections AS c, provconn_reveal(c.user_id, c.connection_id) AS r)),
	qr/\bone\b/, 'late: the secrets open');

# --- Who may load rows past the guard and the audit ---------------------------

# The rule is for COPY, into the table itself, by a superuser's session with
# row_security off: what pg_dump and pg_restore send.  Everybody else, and every
# other statement, is guarded and on record.

my $loaded = 0;

# A new pending row of the user, as COPY has it.
sub row_text
{
	my ($status) = @_;
	my $id = sprintf('01900000-0000-7%03x-8000-%012x', $node->safe_psql('source', "SELECT provconn_shard($user)"), ++$loaded);

	return ($id, join("\t",
			$node->safe_psql('source', "SELECT provconn_shard($user)"),
			$id, map({ tr/'//dr } $user, $acme), $status || 'pending', 0, '2020-01-01', '2020-01-01',
			'00000000-0000-7000-8000-000000000000', '2020-01-01', 77, 'no hash'));
}

my $columns = '(shard_key, connection_id, user_id, provider_id, status, version, created_at, updated_at, audit_id, audit_at, audit_seq, audit_hash)';

# What the audit says of a connection, and the number that its row carries.
sub on_record
{
	my ($id) = @_;

	return $node->safe_psql('source',
		"SELECT coalesce((SELECT string_agg(concat_ws(' ', action, caller_role, seq), ', ') FROM provconn_audit_log WHERE connection_id = '$id'), 'nothing'),"
		  . " (SELECT audit_seq FROM provconn.connection WHERE connection_id = '$id')");
}

# Runs a script as a role; returns its SQLSTATE, or 'ok'.
sub run_as
{
	my ($role, $script) = @_;
	my ($code, $stdout, $stderr) = $node->psql('source', $script,
		on_error_die => 0, on_error_stop => 1,
		extra_params => [ '-v', 'VERBOSITY=sqlstate', $role ? ('-U', $role) : () ]);

	return $stderr =~ /ERROR:\s+(\w+)/ ? $1 : $code == 0 ? 'ok' : $stderr;
}

sub copy_in
{
	my ($role, $settings, $status) = @_;
	my ($id, $text) = row_text($status);

	return ($id, run_as($role, "$settings;\nCOPY provconn.connection $columns FROM STDIN;\n$text\n\\.\n"));
}

# How often rows came in past the guards.
sub imports
{
	return $node->safe_psql('source', q(SELECT string_agg(DISTINCT table_name, ' '), count(*) FROM provconn.import));
}

my $superuser = $node->safe_psql('source', 'SELECT current_user');

is(imports(), '|0', 'nothing came in past the guards');
my ($id, $outcome) = copy_in(undef, 'SET row_security = off');
is("$outcome: " . on_record($id), 'ok: nothing|77', 'the rule: a superuser\'s COPY with row_security off');
is(imports(), 'connection|1', 'leaves its trace');
is($node->safe_psql('source', q(SELECT problem, substring(detail FROM 'rows into .* at '), split_part(detail, ', ', 2) FROM provconn_verify_audit() WHERE severity = 'notice')),
	'restored|rows into provconn.connection at |by role ' . $superuser, 'which is told');
is($node->safe_psql('source', qq(SELECT problem, detail FROM provconn_verify_audit() WHERE severity = 'problem' AND connection_id = '$id')),
	'truncated|no row of this connection is left', 'as is that there is no audit of what came in');
($id, $outcome) = copy_in(undef, 'SET row_security = on');
is("$outcome: " . on_record($id), "ok: direct $superuser 1|1", 'with row_security on it is audited');
($id, $outcome) = copy_in(undef, 'SET row_security = on', 'active');
is($outcome, 'PV108', 'and guarded');

# An ordinary role with rights that it should never have.
$node->safe_psql('source', 'GRANT USAGE ON SCHEMA provconn TO clerk; GRANT ALL ON provconn.connection TO clerk;'
	  . q( SELECT provconn_grant('clerk', 'reader')));
for my $settings ('SET row_security = off', 'SET row_security = on', 'BEGIN; SET LOCAL row_security = off; SAVEPOINT s')
{
	($id, $outcome) = copy_in('clerk', $settings);
	is("$outcome: " . on_record($id), $settings =~ /BEGIN/ ? 'ok: nothing|' : 'ok: direct clerk 1|1',
		"an ordinary role's COPY, $settings, is audited");
	($id, $outcome) = copy_in('clerk', $settings, 'disconnected');
	is($outcome, 'PV108', 'and guarded');
}
is(run_as('clerk', 'SET row_security = off; UPDATE provconn.connection SET status = $$pending$$ WHERE alias = $$first$$'),
	'PV108', 'so is its UPDATE');
is(run_as('clerk', 'SET row_security = off; DELETE FROM provconn.connection'), 'PV109', 'and its DELETE');
is(run_as('clerk', 'SET row_security = off; TRUNCATE provconn.connection'), 'PV109', 'and its TRUNCATE');
is(run_as('clerk', 'SET session_replication_role = replica'), '42501', 'it cannot play a replica');

# A superuser who has put on the role, and one who has become it.
($id, $outcome) = copy_in(undef, 'SET row_security = off; SET SESSION AUTHORIZATION clerk');
is("$outcome: " . on_record($id), 'ok: direct clerk 1|1', 'SET SESSION AUTHORIZATION takes the rule away');

# It is the session's user that counts: not a role put on, nor one put off.
$node->safe_psql('source', 'CREATE ROLE boss SUPERUSER; GRANT boss TO clerk');
($id, $outcome) = copy_in('clerk', 'SET ROLE boss; SET row_security = off');
is("$outcome: " . on_record($id), 'ok: direct boss 1|1', 'an ordinary role that puts on a superuser is audited');
($id, $outcome) = copy_in(undef, 'SET row_security = off; SET ROLE clerk');
is("$outcome: " . on_record($id), 'ok: nothing|77', 'the rule holds for pg_restore --role');
is(imports(), 'connection|2', 'and leaves a trace, as only those do that were not audited');

# Everything else that a superuser may do with row_security off.
for my $settings ('SET row_security = off', 'SET session_replication_role = replica', 'SET row_security = off; SET session_replication_role = replica')
{
	my ($new, $text) = row_text();
	my $values = join(', ', map { "'$_'" } split(/\t/, $text));

	is(run_as(undef, "$settings; INSERT INTO provconn.connection $columns VALUES ($values)") . ': ' . on_record($new),
		"ok: direct $superuser 1|1", "a superuser's INSERT, $settings, is audited");
	is(run_as(undef, "$settings; UPDATE provconn.connection SET status = 'failed' WHERE connection_id = '$new'") . ': ' . on_record($new),
		"ok: direct $superuser 1, direct $superuser 2|2", 'so is the UPDATE');
	is(run_as(undef, "$settings; UPDATE provconn.connection SET status = 'pending' WHERE connection_id = '$new'"), 'PV108', 'and guarded');
	is(run_as(undef, "$settings; DELETE FROM provconn.audit"), 'PV110', 'the audit keeps its rows');
	is(run_as(undef, "$settings; TRUNCATE provconn.audit"), 'PV110', 'whatever is tried');
	is(run_as(undef, "$settings; $_"), 'PV110', $_)
	  for ('INSERT INTO provconn.audit SELECT * FROM provconn.audit', 'INSERT INTO provconn.seal SELECT * FROM provconn.seal',
		'INSERT INTO provconn.audit_2020_01 SELECT * FROM provconn.audit_2020_01', 'UPDATE provconn.seal SET leaves = heads',
		'DELETE FROM provconn.seal', 'TRUNCATE provconn.seal', 'UPDATE provconn.import SET kind = $$$$', 'DELETE FROM provconn.import',
		'TRUNCATE provconn.import');
	is(run_as(undef, "$settings; $_"), 'PV109', $_) for ('DELETE FROM provconn.seal_key', 'TRUNCATE provconn.seal_key', 'UPDATE provconn.seal_key SET key_id = 2');
}
is(imports(), 'connection|2', 'and no trace is left of what was not done');

# The audit and the seals take rows from a restore alone.
for my $table ('audit', 'seal')
{
	my $copy = "COPY provconn.$table FROM STDIN;\n\\.\n";

	is(run_as(undef, "SET row_security = on;\n$copy"), 'PV110', "a superuser's COPY into $table with row_security on");
	is(run_as('clerk', "SET row_security = off;\n$copy"), '42501', "and an ordinary role's");
	$node->safe_psql('source', "GRANT INSERT ON provconn.$table TO clerk");
	is(run_as('clerk', "SET row_security = off;\n$copy"), 'PV110', 'whatever rights it has');
	is(run_as(undef, "SET row_security = off;\n$copy"), 'ok', "but not a superuser's with row_security off");
	like(imports(), qr/\b$table\b/, 'which leaves its trace');
}

# A superuser's function lends the rule to nobody.
my ($new, $text) = row_text();
my $file = "$directory/rows";
append_to_file($file, "$text\n");
$node->safe_psql('source', "CREATE FUNCTION load() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET row_security = off AS
	\$\$BEGIN COPY provconn.connection $columns FROM '$file'; END\$\$; GRANT EXECUTE ON FUNCTION load() TO clerk");
is(run_as('clerk', 'SELECT load()') . ': ' . on_record($new), "ok: direct $superuser 1|1",
	'a function of a superuser\'s, called by an ordinary role, is audited');

# Nor does a COPY into another table lend it to what a trigger there does.
$node->safe_psql('source', "CREATE TABLE inbox (line text);
	CREATE FUNCTION receive() RETURNS trigger LANGUAGE plpgsql AS \$\$BEGIN PERFORM provconn_initiate($user, $acme, 'acme', NEW.line); RETURN NEW; END\$\$;
	CREATE TRIGGER receive BEFORE INSERT ON inbox FOR EACH ROW EXECUTE FUNCTION receive()");
is(run_as(undef, "SET row_security = off;\nCOPY inbox FROM STDIN;\nfrom a trigger\n\\.\n"), 'ok', 'a COPY into another table');
is($node->safe_psql('source', q(SELECT string_agg(action || ' ' || seq, ', ') FROM provconn_audit_log AS a JOIN provconn_connections AS c USING (connection_id) WHERE c.alias = 'from a trigger')),
	'initiate 1', 'leaves a command of its trigger audited');

done_testing();
