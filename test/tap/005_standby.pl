# A standby answers questions; commands, and a reveal, which writes to the audit,
# say that they belong on the primary.  So does a read-only transaction.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use ProvconnNode;
use PostgreSQL::Test::Cluster;
use Test::More;

my $primary = ProvconnNode::make('primary', init => { allows_streaming => 1 });
my $provider = q('00000000-0000-4000-8000-0000000000aa');
my $user     = q('00000000-0000-4000-8000-000000000001');
my $admin    = ProvconnNode::session($primary);

$admin->must("SELECT provconn_register_provider('acme', 'Acme', 'custom', NULL, $provider)");
my $id = $admin->value("SELECT connection_id FROM provconn_connect(provconn_connect_command($user, $provider, 'acme',"
	  . " provconn_credentials('secret', 'custom'), 'mine'))");
my $digest = $admin->value('SELECT provconn_seal_audit()');
my $reveal = "SELECT secret_text FROM provconn_reveal($user, '$id')";
my %commands = (
	provconn_connect => "SELECT * FROM provconn_connect(provconn_connect_command($user, $provider, 'acme', provconn_credentials('x', 'custom')))",
	provconn_disconnect    => "SELECT * FROM provconn_disconnect(provconn_disconnect_command($user, '$id'))",
	provconn_refresh       => "SELECT * FROM provconn_refresh(provconn_refresh_command('$id', provconn_credentials('x', 'custom')))",
	provconn_refresh_batch => "SELECT * FROM provconn_refresh_batch(ARRAY[provconn_refresh_command('$id', provconn_credentials('x', 'custom'))])",
	provconn_initiate      => "SELECT * FROM provconn_initiate($user, $provider, 'acme')",
	provconn_reveal        => $reveal,
	provconn_register_provider   => q(SELECT provconn_register_provider('other', 'Other', 'custom')),
	provconn_set_provider_active => "SELECT provconn_set_provider_active($provider, false)",
	provconn_seal_audit          => 'SELECT provconn_seal_audit()',
	provconn_archive_audit       => q(SELECT provconn_archive_audit('2020-01-01')),
	provconn_attach_audit        => q(SELECT provconn_attach_audit('provconn.audit')),
	provconn_grant               => q(SELECT provconn_grant('pg_monitor', 'reader')),
	provconn_revoke              => q(SELECT provconn_revoke('pg_monitor', 'reader')));

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);

my $reader = ProvconnNode::session($standby);
for my $name (sort keys %commands)
{
	my $error = $reader->query($commands{$name})->{error};

	is($error->{C}, '25006', "$name on a standby");
	is($error->{M}, "$name cannot run on a standby server", "$name says so");
	is($error->{H}, 'Send it to the primary server.', "$name says where to go");
}

my $state = q(SELECT provider_slug, alias, status, version, can_sync FROM provconn_connections);
is_deeply($reader->must($state)->{rows}, [ [ 'acme', 'mine', 'active', '1', 't' ] ], 'provconn_connections reads');
is_deeply($reader->must('SELECT action, outcome, seq FROM provconn_audit_log')->{rows},
	[ [ 'connect', 'succeeded', '1' ] ], 'provconn_audit_log reads');
is($reader->value("SELECT provconn_audit_report($user) ~ 'No problem found'"), 't', 'provconn_audit_report reads');
is_deeply($reader->must("SELECT * FROM provconn_verify_audit('$digest')")->{rows}, [], 'provconn_verify_audit verifies');
is($reader->value(q(SELECT provconn_audit_proof(audit_id) #>> '{seal,seal_id}' FROM provconn_audit_log)), '1', 'provconn_audit_proof proves');
is($reader->value('SELECT slug FROM provconn_providers'), 'acme', 'provconn_providers reads');
cmp_ok($reader->value('SELECT count(*) FROM provconn_transitions'), '>', 10, 'provconn_transitions reads');
like($reader->value('SELECT provconn_state_diagram()'), qr/^stateDiagram/, 'provconn_state_diagram prints');
is($reader->value("SELECT provconn_shard_of('$id') = provconn_shard($user)"), 't', 'provconn_shard counts');
is($reader->value(q(SELECT (provconn_api_key_credentials('x')).secret)), '[redacted]', 'a constructor builds');
is($reader->query(q(SELECT provconn_unwrap(ROW(false, NULL, NULL, NULL, 'not_active', NULL, false)::provconn_result)))->{error}{C},
	'PV012', 'provconn_unwrap raises');
my $findings = q(SELECT count(*), count(*) FILTER (WHERE status <> 'ok'
	AND check_name !~ '^(auto_explain|core_dumps|debug_print|log_.*|preload|ssl)$') FROM provconn_doctor());
my ($checks, $wrong) = @{ $reader->must($findings)->{rows}[0] };
cmp_ok($checks, '>', 30, 'provconn_doctor makes its checks');
is($wrong, '0', 'and finds nothing but what concerns the test server');

# In a read-only transaction on the primary.
$admin->must('SET default_transaction_read_only = on');
for my $name (sort keys %commands)
{
	my $error = $admin->query($commands{$name})->{error};

	is($error->{C}, '25006', "$name in a read-only transaction");
	is($error->{M}, "$name cannot run in a read-only transaction", "$name says so");
	is($error->{H}, 'Start the transaction READ WRITE.', "$name says what to do");
}
is_deeply($admin->must($state)->{rows}, [ [ 'acme', 'mine', 'active', '1', 't' ] ], 'nothing came of it');
is($admin->value('SELECT count(*) FROM provconn_audit_log'), '1', 'nor is it on record');
is_deeply($admin->must($findings)->{rows}, [ [ $checks, '0' ] ], 'provconn_doctor makes the same checks');
$admin->close;

# Once promoted, the session that was told off goes on.
$primary->stop;
$standby->promote;
ok(ProvconnNode::wait_until(sub { $reader->value('SELECT pg_is_in_recovery()') eq 'f' }), 'the standby is promoted');
is($reader->value($reveal), 'secret', 'and reveals');
my $result = $reader->must($commands{provconn_refresh});
is($result->{rows}[0][0], 't', 'and refreshes');
is($reader->value('SELECT string_agg(action || $$ $$ || coalesce(seq::text, $$-$$), $$, $$ ORDER BY occurred_at) FROM provconn_audit_log'),
	'connect 1, reveal -, refresh 2', 'and the audit goes on where it was');

done_testing();
