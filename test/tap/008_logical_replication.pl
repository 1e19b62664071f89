# A subscriber gets the rows that its publisher guarded, audited and sealed: its
# triggers stand aside for them, and for them alone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use ProvconnNode;
use Test::More;

my $key      = ProvconnNode::random_key() . "\n";
my $provider = q('00000000-0000-4000-8000-0000000000aa');
my $user     = q('00000000-0000-4000-8000-000000000001');
my %made     = (key => $key, init => { allows_streaming => 'logical' });
my $publisher  = ProvconnNode::make('publisher',  %made);
my $subscriber = ProvconnNode::make('subscriber', %made);
my $admin = ProvconnNode::session($publisher);
my $there = ProvconnNode::session($subscriber);
my $everything = q(SELECT string_agg(t, E'\n') FROM (
	SELECT c::text AS t FROM provconn.connection AS c UNION ALL SELECT a::text FROM provconn.audit AS a
	UNION ALL SELECT s::text FROM provconn.seal AS s UNION ALL SELECT k::text FROM provconn.seal_key AS k
	UNION ALL SELECT k::text FROM provconn.data_key AS k UNION ALL SELECT p::text FROM provconn.provider AS p ORDER BY 1) AS all_rows);

$admin->must("SELECT provconn_register_provider('acme', 'Acme', 'custom', NULL, $provider)");
my ($first, $second) = map {
	$admin->value("SELECT connection_id FROM provconn_connect(provconn_connect_command($user, $provider, 'acme', provconn_credentials('$_', 'custom'), '$_'))")
} ('first', 'second');

my $digest = $admin->value('SELECT provconn_seal_audit()');

# The subscriber needs months to put the audit's rows into.
$there->must(q(SELECT provconn_register_provider('local', 'Local', 'custom')));

$admin->must('CREATE PUBLICATION everything FOR TABLE provconn.provider, provconn.data_key, provconn.connection, provconn.idempotency, provconn.audit,'
	  . ' provconn.seal, provconn.seal_key'
	  . ' WITH (publish_via_partition_root = true)');
$there->must(q(ALTER TABLE provconn.provider DISABLE TRIGGER ALL; DELETE FROM provconn.provider; ALTER TABLE provconn.provider ENABLE ALWAYS TRIGGER provconn_guard, ENABLE ALWAYS TRIGGER provconn_no_truncate, ENABLE ALWAYS TRIGGER provconn_open, ENABLE ALWAYS TRIGGER provconn_notice));
$there->must(sprintf(q(CREATE SUBSCRIPTION everything CONNECTION '%s' PUBLICATION everything), $publisher->connstr('postgres') =~ s/'/''/gr));

sub is_caught_up
{
	my ($name) = @_;
	my $expected = $admin->value($everything);

	ok(ProvconnNode::wait_until(sub { ($there->value($everything) || '') eq $expected }), "$name: the subscriber has the same rows")
	  or diag($there->value($everything), "\n", $expected);
	return;
}

# Problems of the audit, and the notices without what is not the same each time.
sub verify
{
	my ($session, $digest, $severity) = @_;

	return $session->value(q{SELECT coalesce(string_agg(DISTINCT concat_ws(' ', problem, CASE severity WHEN 'problem' THEN detail
			ELSE substring(detail FROM '^rows into (provconn\.\w+)') END), ', '), 'none')}
		  . " FROM provconn_verify_audit('$digest') WHERE severity = '$severity'");
}

is_caught_up('the first copy');
is(verify($there, $digest, 'problem'), 'none', 'the audit verifies on the subscriber, by the digest of the publisher');

# Every kind of change, forbidden ones for a superuser among them.
$admin->must("SELECT provconn_refresh(provconn_refresh_command('$first', provconn_credentials('renewed', 'custom')))");
$admin->must("SELECT provconn_disconnect(provconn_disconnect_command($user, '$second'))");
$admin->must("SELECT provconn_initiate($user, $provider, 'acme', 'third')");
$admin->must(q(UPDATE provconn.connection SET metadata = '{"by": "dba"}'));
$admin->must("SELECT provconn_refresh(provconn_refresh_command('$second', provconn_credentials('refused', 'custom')))");
$admin->must("SELECT provconn_set_provider_active($provider, false)");
is_caught_up('changes');
is(verify($there, $digest, 'problem'), 'none', 'changes: the audit verifies, though they are not sealed');
my $later = $admin->value('SELECT provconn_seal_audit()');
is_caught_up('a seal');
is(verify($there, $_, 'problem'), 'none', 'a seal: the audit verifies') for ($digest, $later);
is(verify($there, $later, 'notice'), 'foreign, replicated provconn.audit, replicated provconn.connection, replicated provconn.seal',
	'and is known to be replicated');
is($there->value("SELECT provconn_audit_proof(audit_id) -> 'seal' ->> 'seal_hash' = '$later'::jsonb ->> 'seal_hash' FROM provconn_audit_log WHERE action = 'set_provider_active' OR seq = 3 LIMIT 1"),
	't', 'a proof is to be had there');
my $error = $there->query('SELECT provconn_seal_audit()')->{error};
is("$error->{C} $error->{M}", 'PV117 the audit is not sealed here: subscription "everything" brings the seals of its publisher',
	'a seal on the subscriber is an error');
like($error->{H}, qr/^Seal on the publisher;/, 'with a hint');

# The rows are as good as on the publisher, and as well guarded.
my $reveal = "SELECT secret_text FROM provconn_reveal($user, '$first')";
is($there->value($reveal), 'renewed', 'a secret opens on the subscriber');
is($there->query(q(UPDATE provconn.connection SET status = 'pending'))->{error}{C}, 'PV108', 'a forbidden change is an error');
is($there->query('DELETE FROM provconn.connection')->{error}{C}, 'PV109', 'so is a DELETE');
is($there->query('DELETE FROM provconn.audit')->{error}{C}, 'PV110', 'and one of the audit');
is($there->query('DELETE FROM provconn.data_key')->{error}{C}, 'PV109', 'and one of the data keys');

# After a switch-over the audit goes on.
$there->must('DROP SUBSCRIPTION everything');
for my $round (1, 2)
{
	my $mine = $there->value('SELECT provconn_seal_audit()');

	is(verify($there, $_, 'problem'), 'none', "seal $round, once it is no subscriber any more: the audit verifies") for ($digest, $later, $mine);
	is($there->value('SELECT max(seal_id) FROM provconn.seal'), 2 + $round, "seal $round: it has the next number");
	is($there->value(q(SELECT count(*) - count(l.audit_id) FROM provconn.audit AS a
		LEFT JOIN (SELECT l.audit_id FROM provconn.seal AS s, provconn.seal_leaves(s.leaves) AS l) AS l USING (audit_id))),
		'0', "seal $round: no row is without a seal");
	$there->must("SELECT provconn_initiate($user, $provider, 'acme', 'here')");
}
is($there->value("SELECT version FROM provconn_refresh(provconn_refresh_command('$first', provconn_credentials('here', 'custom')))"),
	'3', 'a refresh, once it is no subscriber any more');
is($there->value("SELECT string_agg(action || ' ' || seq, ', ' ORDER BY seq) FROM provconn_audit_log WHERE connection_id = '$first' AND seq IS NOT NULL"),
	'connect 1, refresh 2, direct 3, refresh 4', 'is the next one in the audit');

done_testing();
