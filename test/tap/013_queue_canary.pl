# The canaries of the refresh queue: provconn_claim_due hands out secrets, and
# they come to the caller and nowhere else: not into the server's log, temporary
# files, statistics views, WAL or data directory, whatever a worker does with
# them and whatever goes wrong.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use ProvconnNode;
use ProvconnCanary;
use ProvconnQueue;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = ProvconnNode::make(
	'main',
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
log_temp_files = 0
log_error_verbosity = verbose
log_min_messages = debug1
log_min_error_statement = debug5
track_activity_query_size = 16kB
autovacuum = off
));
my $canaries = ProvconnCanary->new;
my $admin    = ProvconnNode::session($node);
my $oid      = $admin->value(q(SELECT 'provconn_secret'::regtype::oid));
my $acme     = ProvconnQueue::provider('acme');
my %seen     = (client => '', activity => '', temporary => '');

ProvconnQueue::prepare($admin, 'acme');
$admin->must($_)
  for (
	'CREATE EXTENSION pg_stat_statements',
	q(ALTER ROLE worker SET work_mem = '64kB'),
	# PostgreSQL 16 and later: auto_explain shows what a function in PL/pgSQL hands
	# to its statements
	$admin->value('SHOW server_version_num') >= 160000
	? 'ALTER ROLE worker SET auto_explain.log_parameter_max_length = 0'
	: (),
	# a provider whose tokens tell where they come from
	q(CREATE FUNCTION echo(slug text, credential text) RETURNS text LANGUAGE sql AS
		$$SELECT json_build_object('access_token', reverse(credential), 'refresh_token', credential, 'expires_in', 86400)::text$$),
	q(CREATE FUNCTION complain(slug text, credential text) RETURNS text LANGUAGE plpgsql AS
		$$BEGIN RETURN credential::json ->> 'nothing' || 1 / 0; END$$));

my $worker = ProvconnNode::session($node, user => 'worker');

# Due connections, each with a canary of 20 kB that may be found in these places.
sub connect_canaries
{
	my ($what, $count, @places) = @_;

	for my $n (1 .. $count)
	{
		my $canary = $canaries->hatch("$what, $n", @places);
		my $result = $admin->bound(
			"SELECT ok FROM provconn_connect(provconn_connect_command(gen_random_uuid(), $acme, 'acme',"
			  . ' provconn_oauth2_credentials($1, $2, now())))',
			[ $oid, 1, join(' ', ($canary) x 1000) ],
			[ $oid, 1, $canary ]);

		$result->{rows}[0][0] eq 't' or die "$what was not connected\n";
	}
	return;
}

# What the worker gets.
sub receive
{
	my ($result) = @_;

	$canaries->search_text('rows', \join(' ', map { map { $_ // '' } @$_ } @{ $result->{rows} }));
	return $result;
}

# Frees what is claimed and puts it out of the way.
sub put_away
{
	$admin->must('UPDATE provconn.connection SET leased_by = NULL, lease = NULL, leased_until = NULL');
	$admin->must(q(SELECT FROM provconn_connections AS c, provconn_mark_revoked(c.connection_id) WHERE c.status = 'active'));
	return;
}

my $claim = q(SELECT * FROM provconn_claim_due('w'));

# Claimed, by each of the protocols.
for my $way (qw(simple extended))
{
	my $size = ProvconnNode::log_size($node);

	connect_canaries("claimed, $way", 40, 'rows');
	my $result = receive($way eq 'simple' ? $worker->query($claim) : $worker->bound('SELECT * FROM provconn_claim_due($1)', [ 25, 0, 'w' ]));
	is(scalar @{ $result->{rows} }, 40, "$way: the worker gets them");
	unlike(ProvconnNode::log_since($node, $size), qr/temporary file/, "$way: without a temporary file, small as work_mem is");
	put_away();
}

# A caller's own sort makes one, so that the log would tell.
{
	my $size = ProvconnNode::log_size($node);

	connect_canaries('sorted by the caller', 40, 'rows');
	receive($worker->query("$claim ORDER BY reverse(secret_text)"));
	like(ProvconnNode::log_since($node, $size), qr/temporary file/, 'what a caller sorts may go to a temporary file');
	put_away();
}

# The worker in plain SQL: no secret leaves the server.  But auto_explain shows
# what EXECUTE hands to the provider's function, here since log_verbose is on; so
# the comment in worker.sql names another way, which does not have that.
$admin->must(slurp_file(ProvconnQueue::WORKER)
	  =~ s/PROCEDURE refresh_worker/PROCEDURE direct_worker/r
	  =~ s/EXECUTE format.*?;/answer := echo(claim.provider_slug, claim.secret_text);/sr);
for my $procedure (qw(refresh_worker direct_worker))
{
	my $size = ProvconnNode::log_size($node);

	connect_canaries($procedure, 40, $procedure eq 'refresh_worker' ? 'log' : ());
	is($worker->query("CALL $procedure(worker => 'w', provider => 'echo'::regproc, rounds => 10)")->{error},
		undef, "$procedure runs");
	is($admin->value(q(SELECT count(*) FROM provconn_connections WHERE version = 2 AND status = 'active')), 40, 'and refreshes');
	unlike(ProvconnNode::log_since($node, $size), qr/temporary file/, 'without a temporary file');
	put_away();
}
{
	connect_canaries('a provider that fails in the worker in SQL', 3);
	is($worker->query(q(CALL refresh_worker(worker => 'w', provider => 'complain'::regproc)))->{error},
		undef, 'the worker in SQL survives an error of its provider');
	is($admin->value(q(SELECT string_agg(DISTINCT last_failure, ' ') FROM provconn_connections WHERE failure_count = 1)),
		'SQLSTATE 22012', 'and reports it');
	put_away();
}

# Whatever goes wrong, by default and with parameters logged on error.
for my $on_error (0, -1)
{
	$admin->must("ALTER ROLE worker SET log_parameter_max_length_on_error = $on_error");

	fails("an error in the same statement", '22012',
		'SELECT length(secret_text) / (SELECT 0 FROM pg_class WHERE relname = $$pg_class$$) FROM provconn_claim_due($1)');
	fails('a cast that fails', '22P02', 'SELECT 1 + c.lease::text::int FROM provconn_claim_due($1) AS c');
	fails('a constraint', '23514', $claim =~ s/'w'/\$1/r,
		q(ALTER TABLE provconn.connection ADD CONSTRAINT dba CHECK (leased_by <> 'forbidden')),
		'ALTER TABLE provconn.connection DROP CONSTRAINT dba', 'forbidden');
	fails(q(a trigger of the DBA's), 'P0001', $claim =~ s/'w'/\$1/r,
		q(CREATE FUNCTION dba() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no: %', NEW; END$$;
			CREATE TRIGGER dba BEFORE UPDATE ON provconn.connection FOR EACH ROW EXECUTE FUNCTION dba()),
		'DROP FUNCTION dba() CASCADE');
	fails('a missing key file', 'PV101', $claim =~ s/'w'/\$1/r,
		q(ALTER ROLE worker SET provconn.key_file = '/nonexistent'), 'ALTER ROLE worker RESET provconn.key_file');
	fails('a worker without a name', '22023', $claim =~ s/'w'/\$1/r, undef, undef, '');
	fails('statement_timeout', '57014', 'SELECT pg_sleep(60) FROM provconn_claim_due($1)',
		q(ALTER ROLE worker SET statement_timeout = '300ms'), 'ALTER ROLE worker RESET statement_timeout');
}

sub fails
{
	my ($what, $sqlstate, $sql, $before, $after, $name) = @_;

	connect_canaries("$what", 3);
	$admin->must($before) if $before;
	my $session = ProvconnNode::session($node, user => 'worker');
	$session->start_bound($sql, [ 25, 0, $name // 'w' ]);
	while (!$session->is_ready)
	{
		$seen{activity} .= activity();
		select(undef, undef, undef, 0.02);
	}
	my $result = $session->finish;
	is($result->{error} ? $result->{error}{C} : 'none', $sqlstate, "$what: fails");
	$seen{client} .= $session->said;
	$session->close;
	$admin->must($after) if $after;
	put_away();
	return;
}

# A credential that does not open is passed over with a warning.
{
	connect_canaries('damaged', 2);
	$admin->must(q(UPDATE provconn.connection SET credential = set_byte(credential, 40, get_byte(credential, 40) # 1) WHERE status = 'active'));
	my $result = receive($worker->query($claim));
	is(scalar @{ $result->{rows} }, 0, 'a damaged credential is not claimed');
	is(join(' ', map { $_->{C} } @{ $result->{notices} }), 'PV104 PV104', 'but warned of');
	put_away();
}

# While a worker is busy with what it has, and its session's last statement.
{
	connect_canaries('under way', 3, 'rows');
	$worker->must('BEGIN');
	receive($worker->query($claim));
	$seen{activity} .= activity();
	$worker->must('COMMIT');
	put_away();
}

# At last a crash with a claim under way.
$seen{client} .= $worker->said;
my $statements = $admin->value(q(SELECT string_agg(query, E'\n') FROM pg_stat_statements));
connect_canaries('a crash', 3);
$worker->start_query("SELECT pg_sleep(60) FROM provconn_claim_due('w')");
ProvconnNode::wait_until(
	sub { $admin->value(q(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep')) > 0 });
$node->stop('immediate');
$node->start;
$node->safe_psql('postgres', 'CHECKPOINT');
$node->stop;

# What the search must find, or it proves nothing, is among the rows.
my $log = ProvconnNode::log_since($node, 0);
like($log, qr/provconn_claim_due/, 'the log has seen the claims');
like($statements, qr/provconn_claim_due/, 'pg_stat_statements, too');
like($seen{activity}, qr/provconn_claim_due/, 'and pg_stat_activity');
like($seen{client}, qr/PV104/, 'the client has been told of faults');
$canaries->search_text('log', \$log);
$canaries->search_text('statements', \$statements);
$canaries->search_text($_, \$seen{$_}) for keys %seen;
$canaries->search_files('wal', $node->data_dir . '/pg_wal');
$canaries->search_files('data', $node->data_dir, qr{/pg_wal/});

my @complaints = $canaries->complaints;
is(scalar @complaints, 0, 'no secret was found where none may be')
  or diag(join("\n", @complaints[ 0 .. ($#complaints > 40 ? 40 : $#complaints) ]));
cmp_ok($canaries->count, '>', 200, 'canaries of all kinds were sent');

done_testing();

sub activity
{
	return $admin->value(q(SELECT string_agg(a::text, E'\n') FROM pg_stat_activity AS a WHERE usename = 'worker')) // '';
}
