# The mask of provconn_secret: what the server keeps of a secret, wherever somebody
# puts one, is of use to the session that made it and to nobody else.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use ProvconnNode;
use ProvconnCanary;
use Test::More;

my $node = ProvconnNode::make('main', conf => "log_statement = none\nautovacuum = off\nmax_parallel_workers = 4");
my $canaries = ProvconnCanary->new;
my $session  = ProvconnNode::session($node);
my $other    = ProvconnNode::session($node);
my $major    = int($session->value('SHOW server_version_num') / 10000);
my $oid      = $session->value(q(SELECT 'provconn_secret'::regtype::oid));
my $user     = q('00000000-0000-4000-8000-000000000001');
my $acme     = q('00000000-0000-4000-8000-0000000000aa');

$session->must($_)
  for (
	"SELECT provconn_register_provider('acme', 'Acme', 'oauth2', NULL, $acme)",
	'CREATE TABLE control (plain text)',
	'CREATE TABLE kept (what text, s provconn_secret, c provconn_credentials, a provconn_secret[], r provconn_connect_command)');

# A command that takes credentials made of an expression of type provconn_secret.
sub connect_with
{
	my ($expression, $constructor) = @_;

	$constructor //= q(provconn_credentials(%s, 'custom'));
	$constructor =~ s/%s/$expression/;
	return "provconn_connect(provconn_connect_command($user, $acme, 'acme', $constructor))";
}

# The secret of the connection that a call makes, or the error that it ends with.
sub connected
{
	my ($by, $from) = @_;
	my $result = $by->query("SELECT c.connection_id FROM $from AS c");

	return "$result->{error}{C}: $result->{error}{M}" if $result->{error};
	return $by->value("SELECT secret_text FROM provconn_reveal($user, '$result->{rows}[0][0]')");
}

my $foreign = 'PV113: this secret was made by another session';

# --- columns ------------------------------------------------------------------

my %secret = map { $_ => $canaries->hatch("a column, $_") } qw(short long parts array command);
$secret{long} = join(' ', ($secret{long}) x 1000);
$session->must('BEGIN');
for ([ short => q(INSERT INTO kept (what, s) VALUES ('short', $1)) ],
	[ long => q(INSERT INTO kept (what, s) VALUES ('long', $1)) ],
	[ parts => q(INSERT INTO kept (what, c) VALUES ('parts', provconn_oauth2_credentials($1, 'r'))) ],
	[ array => q(INSERT INTO kept (what, a) VALUES ('array', ARRAY[NULL, $1])) ],
	[ command => "INSERT INTO kept (what, r) VALUES ('command', provconn_connect_command($user, $acme, 'acme', provconn_credentials(\$1, 'custom')))" ])
{
	my ($what, $sql) = @$_;

	is($session->bound($sql, [ $oid, 0, $secret{$what} ])->{error}, undef, "a column, $what: stored");
}
$session->must('COMMIT');
$session->must("INSERT INTO control VALUES ('" . $canaries->hatch('control, column', qw(data wal)) . "')");

my %use = (
	short   => connect_with(q((SELECT s FROM kept WHERE what = 'short'))),
	long    => connect_with(q((SELECT s FROM kept WHERE what = 'long'))),
	parts   => connect_with(q((SELECT c FROM kept WHERE what = 'parts')), '%s'),
	array   => connect_with(q((SELECT a[2] FROM kept WHERE what = 'array'))),
	command => q(provconn_connect((SELECT r FROM kept WHERE what = 'command'))));
for my $what (sort keys %use)
{
	my $expected = $what eq 'parts' ? qq({"access_token":"$secret{parts}","refresh_token":"r"}) : $secret{$what};

	is(connected($session, $use{$what}), $expected, "a column, $what: of use to its session");
	is(connected($other, $use{$what}), $foreign, "a column, $what: of no use to another one");
}

# Every function that opens a secret, or hands one on to a command.
{
	my $kept = q((SELECT s FROM kept WHERE what = 'short'));
	my $connection = $session->value("SELECT connection_id FROM " . connect_with(q('first')));

	$session->must("SELECT FROM provconn_mark_expired('$connection')");
	my $active = $session->value("SELECT connection_id FROM " . connect_with(q('first')));
	for (
		"provconn_oauth2_credentials($kept)",
		"provconn_oauth2_credentials('a', $kept)",
		"provconn_api_key_credentials($kept)",
		"provconn_api_key_credentials('a', $kept)",
		"provconn_token_response($kept)",
		"provconn_refresh(provconn_refresh_command('$active', provconn_credentials($kept, 'custom')))",
		"provconn_refresh_batch(ARRAY[provconn_refresh_command('$active', provconn_credentials($kept, 'custom'))])",
		"provconn_reauthenticate($user, '$connection', provconn_credentials($kept, 'custom'))",
		connect_with($kept, q(CAST(ROW(%s, 'custom', NULL) AS provconn_credentials))))
	{
		my $result = $other->query("SELECT * FROM $_ AS c");

		is($result->{error} ? "$result->{error}{C}: $result->{error}{M}" : 'no error', $foreign, 'another session: ' . s/\(.*//sr);
		like(($result->{error} || {})->{H} // '', qr/provconn_secret serves the session that made it/, 'with a hint');
	}
	is($session->value("SELECT version FROM provconn_connections WHERE connection_id = '$active'"), 1, 'and nothing was written');
}

# What is shown of it, and what goes out by COPY, is a fixed word.
is($_->value(q(SELECT s FROM kept WHERE what = 'short')), '[redacted]', 'a column is shown as a fixed word') for $session, $other;
is(scalar(grep { $_->[0] !~ /^[ -~]*\[redacted\][ -~]*$/ } @{ $session->must('SELECT k::text FROM kept AS k')->{rows} }), 0, 'so are rows');

# Bytes that are no masked secret at all: a cast that copies them makes such.
{
	$session->must('CREATE CAST (bpchar AS provconn_secret) WITHOUT FUNCTION');
	for my $length (0, 5, 15, 16, 17, 100)
	{
		is(connected($session, connect_with("CAST(CAST(repeat('x', $length) AS bpchar) AS provconn_secret)")), $foreign, "$length bytes that are none");
	}
	$session->must('DROP CAST (bpchar AS provconn_secret)');
}

# --- the catalog, materialized views ------------------------------------------------

{
	my ($view, $matview, $atomic, $default) = map { $canaries->hatch($_) } 'a view', 'a materialized view', 'a function', 'a default';

	$session->must("CREATE VIEW literal AS SELECT CAST('$view' AS provconn_secret) AS s");
	$session->must("CREATE MATERIALIZED VIEW kept_view AS SELECT n, CAST('$matview' AS provconn_secret) AS s FROM generate_series(1, 10) AS n");
	$session->must("CREATE TABLE with_default (n int, s provconn_secret DEFAULT '$default')");
	is($session->query("CREATE FUNCTION atomic_literal() RETURNS provconn_secret LANGUAGE sql RETURN CAST('$atomic' AS provconn_secret)")->{error},
		undef, 'a function in standard SQL');
	is(connected($session, connect_with('(SELECT s FROM literal)')), $view, 'a view: of use to its session');
	is(connected($other, connect_with('(SELECT s FROM literal)')), $foreign, 'of no use to another one');
	is(connected($session, connect_with('(SELECT s FROM kept_view WHERE n = 3)')), $matview, 'a materialized view: of use to its session');
	is(connected($other, connect_with('(SELECT s FROM kept_view WHERE n = 3)')), $foreign, 'of no use to another one');
	is(connected($session, connect_with('atomic_literal()')), $atomic, 'a function: of use to its session');
	is(connected($other, connect_with('atomic_literal()')), $foreign, 'of no use to another one');
	$other->must('INSERT INTO with_default (n) VALUES (1)');
	is(connected($session, connect_with('(SELECT s FROM with_default)')), $default, 'a default: of use to its session');
	is(connected($other, connect_with('(SELECT s FROM with_default)')), $foreign, 'of no use to another one');
	for (
		q(SELECT ev_action::text || pg_get_viewdef(ev_class) FROM pg_rewrite WHERE ev_class IN ('literal'::regclass, 'kept_view'::regclass)),
		q(SELECT adbin::text || pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 'with_default'::regclass),
		q(SELECT prosqlbody::text || pg_get_functiondef(oid) FROM pg_proc WHERE proname = 'atomic_literal'))
	{
		my $text = join("\n", map { $_->[0] } @{ $session->must($_)->{rows} });

		like($text, qr/\[redacted\]/, 'what the catalog shows');
		$canaries->search_text('catalog', \$text);
	}
	$session->must(q(CREATE VIEW plain_literal AS SELECT ') . $canaries->hatch('control, a view', qw(catalog data wal)) . q('::text AS s));
	$canaries->search_text('catalog', \$session->value(q(SELECT ev_action::text FROM pg_rewrite WHERE ev_class = 'plain_literal'::regclass)));
}

# --- temporary files ----------------------------------------------------------------

for my $type ('provconn_secret', 'text')
{
	my @places = $type eq 'text' ? 'temporary' : ();
	my %statement = (
		'a sort' => 'CURSOR FOR SELECT * FROM (SELECT n, CAST($1 AS %t) AS s FROM generate_series(1, 3000) AS n OFFSET 0) AS a ORDER BY (n * 7919) % 20011',
		'a cursor WITH HOLD' => 'CURSOR WITH HOLD FOR SELECT n, CAST($1 AS %t) AS s FROM generate_series(1, 3000) AS n',
		'a hash join' => 'CURSOR FOR SELECT a.s, b.n FROM generate_series(1, 30000) AS b(n) LEFT JOIN'
		  . ' (SELECT n, CAST($1 AS %t) AS s FROM generate_series(1, 30000) AS n OFFSET 0) AS a USING (n)',
		'a CTE' => 'CURSOR FOR WITH a AS MATERIALIZED (SELECT n, CAST($1 AS %t) AS s FROM generate_series(1, 3000) AS n)'
		  . ' SELECT (SELECT count(*) FROM a WHERE s IS NOT NULL), s FROM a');

	$session->must($_) for q(SET work_mem = '64kB'), 'SET enable_mergejoin = off', 'SET enable_nestloop = off';
	for my $what (sort keys %statement)
	{
		my $canary = $canaries->hatch("temporary files of $what, $type", @places);

		$session->must('BEGIN');
		my $result = $session->bound('DECLARE c ' . $statement{$what} =~ s/%t/$type/r, [ $type eq 'text' ? 25 : $oid, 0, $canary ]);
		is($result->{error}, undef, "$what of $type: declared");
		$session->must($what eq 'a hash join' ? 'FETCH 20000 FROM c' : 'FETCH 1 FROM c');
		$session->must('COMMIT') if $what =~ /HOLD/;
		my $files = ProvconnNode::temporary_files($node);
		cmp_ok(length $files, '>', 60000, 'it has temporary files');
		$canaries->search_text('temporary', \$files);
		if ($type eq 'provconn_secret' && $what =~ /HOLD/)
		{
			is($session->must('FETCH 1 FROM c')->{rows}[0][1], '[redacted]', 'what a cursor gives back');
		}
		$session->must($what =~ /HOLD/ ? 'CLOSE c' : 'ROLLBACK');
	}
	$session->must('RESET ALL');
}

# What has been on disk in between still serves.
{
	my $canary = $canaries->hatch('sorted on disk, then used');

	$session->must(q(SET work_mem = '64kB'));
	my $result = $session->bound('SELECT c.connection_id FROM (SELECT n, CAST($1 AS provconn_secret) AS s FROM generate_series(1, 3000) AS n'
		  . ' ORDER BY (n * 7919) % 20011 LIMIT 1 OFFSET 2000) AS a, LATERAL ' . connect_with('a.s') . ' AS c', [ $oid, 0, $canary ]);
	is($session->value("SELECT secret_text FROM provconn_reveal($user, '$result->{rows}[0][0]')"), $canary, 'a secret that was sorted on disk');
	$session->must('RESET ALL');
}

# --- comparison ---------------------------------------------------------------------

for my $operator ('*=', '*<', '*>')
{
	my %seen;

	for my $n (1 .. 16)
	{
		my $result = $session->bound("SELECT a $operator b, b $operator a FROM (SELECT CAST(\$1 AS provconn_secret)) AS a, (SELECT CAST(\$2 AS provconn_secret)) AS b",
			map { [ $oid, 0, "equal $n" ] } 1, 2);

		$seen{"@{ $result->{rows}[0] }"}++;
	}
	is($seen{'t t'}, undef, "equal secrets are not equal for $operator") or diag(explain(\%seen));
	is($session->value("SELECT a $operator b FROM (SELECT CAST('e' AS text)) AS a, (SELECT CAST('e' AS text)) AS b"),
		$operator eq '*=' ? 't' : 'f', 'control: equal texts');
}
is($session->value(q(SELECT a *= b FROM (SELECT CAST('' AS provconn_secret)) AS a, (SELECT CAST('' AS provconn_secret)) AS b)), 'f', 'nor are empty ones');
is($session->query("SELECT CAST('a' AS provconn_secret) $_ CAST('a' AS provconn_secret)")->{error}{C}, '42883', "no operator $_")
  for qw(= <> < >);
is($session->query('SELECT DISTINCT s FROM kept')->{error}{C}, '42883', 'no DISTINCT');
is($session->query('SELECT FROM kept ORDER BY s')->{error}{C}, '42883', 'no ORDER BY');

# --- plans --------------------------------------------------------------------------

for my $mode (qw(force_custom_plan force_generic_plan))
{
	my $canary = $canaries->hatch("EXPLAIN, $mode");

	$session->must("SET plan_cache_mode = $mode");
	$session->must('PREPARE p(provconn_secret) AS SELECT $1 AS s, c.ok FROM ' . connect_with('$1') . ' AS c');
	$session->must('PREPARE q AS SELECT c.ok FROM ' . connect_with("'$canary'") . ' AS c');
	for my $statement ("p('$canary')", 'q')
	{
		my $plan = join("\n", map { $_->[0] } @{ $session->must("EXPLAIN (VERBOSE, COSTS OFF) EXECUTE $statement")->{rows} });

		like($plan, $mode eq 'force_generic_plan' && $statement ne 'q' ? qr/\$1/ : qr/\[redacted\]/, "EXPLAIN, $mode, $statement" =~ s/'.*'/.../r);
		$canaries->search_text('explain', \$plan);
	}
	for (1 .. 7)
	{
		my $result = $session->query("EXECUTE p('$canary')");
		is($result->{rows}[0][1], 't', "EXECUTE, $mode, run $_");
	}
	$session->must('DEALLOCATE ALL');
}
{
	my $canary = $canaries->hatch('control, EXPLAIN', 'explain');

	$canaries->search_text('explain', \join("\n", map { $_->[0] } @{ $session->must("EXPLAIN (VERBOSE, COSTS OFF) SELECT CAST('$canary' AS text)")->{rows} }));
}
$session->must('RESET ALL');

# --- parallel queries ------------------------------------------------------------------

{
	my $force = $major >= 16 ? 'debug_parallel_query' : 'force_parallel_mode';

	$session->must($_)
	  for (
		q(CREATE TABLE large AS SELECT n, 'text of ' || n AS t FROM generate_series(1, 50000) AS n),
		'ANALYZE large',
		"SET $force = on",
		'SET parallel_setup_cost = 0',
		'SET parallel_tuple_cost = 0',
		'SET min_parallel_table_scan_size = 0',
		'SET max_parallel_workers_per_gather = 2');

	my %query = (
		'made and counted' => 'SELECT count(s) FROM (SELECT CAST(t AS provconn_secret) AS s FROM large OFFSET 0) AS a',
		'made and opened' => 'SELECT count(c) FROM (SELECT provconn_oauth2_credentials(s) AS c FROM (SELECT CAST(t AS provconn_secret) AS s FROM large OFFSET 0) AS a) AS a',
		'made of json and opened' => q(SELECT count(provconn_token_response(CAST(json_build_object('access_token', t) AS json), 'epoch')) FROM large));
	for my $what (sort keys %query)
	{
		my $plan = join("\n", map { $_->[0] } @{ $session->must("EXPLAIN (COSTS OFF) $query{$what}")->{rows} });
		my $result = $session->query($query{$what});

		like($plan, qr/Gather/, "a parallel query: secrets $what");
		is($result->{error} ? $result->{error}{M} : $result->{rows}[0][0], 50000, 'it works');
	}

	# Made by a parallel statement, used by a command.
	$session->must('CREATE TABLE of_many AS SELECT n, CAST(t AS provconn_secret) AS s FROM large WHERE n % 5000 = 0');
	my $result = $session->query('SELECT a.n, c.connection_id FROM of_many AS a, LATERAL ' . connect_with('a.s') . ' AS c');
	is($result->{error}, undef, 'secrets of a parallel query are of use to a command') or diag(explain($result->{error}));
	is(scalar @{ $result->{rows} }, 10, 'all of them');
	is($session->value("SELECT secret_text FROM provconn_reveal($user, '$_->[1]')"), "text of $_->[0]", "they are what they were: $_->[0]")
	  for @{ $result->{rows} };

	# A function that is wrong about itself makes them in workers: an error, no garbage.
	$session->must(q(CREATE FUNCTION careless(t text) RETURNS provconn_secret LANGUAGE plpgsql PARALLEL SAFE AS
		$$BEGIN RETURN CAST(t AS provconn_secret); END$$));
	$session->must('SET parallel_leader_participation = off');
	my $careless = 'SELECT count(provconn_oauth2_credentials(s)) FROM (SELECT careless(t) AS s FROM large OFFSET 0) AS a';
	$result = $session->query($careless);
	is($result->{error} ? "$result->{error}{C}: $result->{error}{M}" : "no error: $result->{rows}[0][0]", $foreign, 'secrets that workers made');
}

# --- after a restart, and in files ---------------------------------------------------

$session->close;
$other->close;
$node->safe_psql('postgres', 'CHECKPOINT');
$node->restart;
$session = ProvconnNode::session($node);
is(connected($session, $use{$_}), $foreign, "a column, $_: of no use after a restart") for sort keys %use;
$session->close;
$node->stop;
$canaries->search_files('wal', $node->data_dir . '/pg_wal');
$canaries->search_files('data', $node->data_dir, qr{/pg_wal/});

my @complaints = $canaries->complaints;
is(scalar @complaints, 0, 'no secret was found where none may be') or diag(join("\n", @complaints));

done_testing();
