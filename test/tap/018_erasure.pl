# What provconn_erase_user leaves in the files: nothing, once the tables have been
# rewritten.  And the brake on reveals, told in the log once a minute, with the
# library preloaded and without.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use ProvconnCanary;
use ProvconnNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = ProvconnNode::make('main', conf => 'autovacuum = off');
my $admin = ProvconnNode::session($node);
my $provider = q('00000000-0000-4000-8000-0000000000aa');
my $user = q('00000000-0000-4000-8000-000000000001');
my $canaries = ProvconnCanary->new;

$admin->must("SELECT provconn_register_provider('acme', 'Acme', 'custom', NULL, $provider)");

# A user whose every value can be told, and who is in each table.  Returns the
# numbers of the values.
sub live
{
	my ($who) = @_;
	my $first = $canaries->count;
	my %value = map { $_ => $canaries->hatch($_) } qw(alias metadata reason application purpose failure pending key stranger);
	my $session = ProvconnNode::session($node, application_name => $value{application});
	my $connect = "SELECT connection_id FROM provconn_connect(provconn_connect_command($who, $provider, 'acme',"
	  . " provconn_credentials('s', 'oauth2', now()), '%s'), %s)";
	my $id = $session->value(sprintf($connect, $value{alias}, 'NULL'));

	$session->must($_)
	  for (
		"SELECT provconn_set_metadata($who, '$id', jsonb_build_object('note', '$value{metadata}', 'long', (SELECT string_agg(md5(i::text), '$value{metadata}') FROM generate_series(1, 250) AS i)))",
		"SELECT provconn_reveal($who, '$id', '$value{purpose}')",
		"SELECT r.ok FROM provconn_claim_due('worker', '1 hour') AS c, provconn_report_failure(c.connection_id, c.lease, '$value{failure}') AS r",
		"SELECT provconn_mark_revoked('$id', '$value{reason}')",
		"SELECT provconn_initiate($who, $provider, 'acme', '$value{pending}')",
		sprintf($connect, $value{key}, 'gen_random_uuid()'),
		"SELECT provconn_reveal(gen_random_uuid(), '$id', '$value{stranger}')");
	$session->close;
	return $first .. $canaries->count - 1;
}

# Which of those are in the files.
sub found
{
	my @numbers = @_;

	$admin->must('CHECKPOINT');
	$canaries->{found} = {};
	$canaries->search_files('files', $node->data_dir . '/base');
	return scalar grep { $canaries->{found}{$_} } @numbers;
}

# What is compressed could not be searched for.
$admin->must('ALTER TABLE provconn.connection ALTER COLUMN metadata SET STORAGE EXTERNAL');
my @leaver = live($user);
my @stayer = live(q('00000000-0000-4000-8000-000000000002'));

is(found(@leaver), 9, 'all values are in the files');
is($admin->value("SELECT provconn_erase_user($user)"), '3', 'three connections');
cmp_ok(found(@leaver), '>', 0, 'dead rows still hold them');
$admin->must('VACUUM (FULL) provconn.connection, provconn.idempotency, provconn.audit');
is(found(@leaver), 0, 'after VACUUM (FULL) the files hold none of them');
is(found(@stayer), 9, 'and all of those of another user');

# --- the brake ----------------------------------------------------------------

for my $preloaded (0, 1)
{
	my $how = $preloaded ? 'preloaded' : 'not preloaded';

	if ($preloaded)
	{
		$node->append_conf('postgresql.conf', "shared_preload_libraries = 'provconn'");
		$node->restart;
		$admin = ProvconnNode::session($node);
	}
	else
	{
		$admin->must($_) for ('CREATE ROLE revealer LOGIN', q(SELECT provconn_grant('revealer', 'secrets')),
			'ALTER ROLE revealer SET provconn.reveal_limit = 2');
	}
	my $id = $admin->value("SELECT connection_id FROM provconn_connect(provconn_connect_command($user, $provider, 'acme', provconn_credentials('s', 'custom')))");
	my $size = ProvconnNode::log_size($node);
	my @codes;

	for (1 .. 5)
	{
		my $session = ProvconnNode::session($node, user => 'revealer');

		push @codes, $session->value("SELECT coalesce(error_code, 'ok') FROM provconn_reveal($user, '$id')");
		$session->close;
	}
	is(join(' ', @codes), 'ok ok reveal_limited reveal_limited reveal_limited', "$how: two a minute, over all sessions");
	my @told = ProvconnNode::log_since($node, $size) =~ /LOG:  role "revealer" has used up its reveals of this minute/g;
	is(scalar @told, 1, "$how: told once in the log");
	is($admin->value(q(SELECT count(*) FROM provconn_audit_log WHERE error_code = 'reveal_limited' AND caller_role = 'revealer')),
		$preloaded ? 7 : 3, "$how: each refusal is audited");

	# What a client brings along as it connects does not lift it.
	for my $value ('0', '1000', 'garbage')
	{
		my $session = eval { ProvconnNode::session($node, user => 'revealer', 'provconn.reveal_limit' => $value) };
		my $said = $session ? $session->query("SELECT ok FROM provconn_reveal($user, '$id')")->{error}{M} : $@;

		like($said, qr/permission denied to set parameter "provconn.reveal_limit"/, "$how: a client that brings $value gets nowhere");
	}
	# Nor does a first call in the middle of a parallel query, when settings cannot be set.
	if (!$preloaded)
	{
		$admin->must($_)
		  for (
			'CREATE TABLE large AS SELECT generate_series(1, 1000) AS i',
			q(CREATE FUNCTION load_late(int) RETURNS int LANGUAGE plpgsql PARALLEL SAFE AS
				$$BEGIN RETURN provconn_shard('00000000-0000-4000-8000-000000000001'); END$$),
			'GRANT SELECT ON large TO revealer', q(SELECT provconn_grant('revealer', 'reader')));
		my $session = ProvconnNode::session($node, user => 'revealer');

		$session->must($_) for ('SET parallel_setup_cost = 0', 'SET parallel_tuple_cost = 0', 'SET min_parallel_table_scan_size = 0',
			'SET max_parallel_workers = 0');
		is($session->query('SELECT count(load_late(i)) FROM large')->{error}{M},
			'provconn cannot be loaded during a parallel operation', 'not in the middle of a parallel query');
		is($session->value("SELECT error_code FROM provconn_reveal($user, '$id')"), 'reveal_limited', 'and after it the limit is there');
		is($session->value('SELECT count(load_late(i)) FROM large'), '1000', 'now that it is loaded the query runs');
	}
}

done_testing();
