# Eight workers drain a queue: every connection is claimed once and refreshed
# once, and no worker waits long, fails or is in another one's way.
#
# 4,000 connections; PROVCONN_TEST_SCALE=25 makes it 100,000.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use ProvconnNode;
use ProvconnQueue;
use Test::More;
use Time::HiRes qw(time);

my $node  = ProvconnNode::make('main', conf => "log_lock_waits = on\ndeadlock_timeout = 200ms");
my $admin = ProvconnNode::session($node);
my @slugs = qw(acme brick corn);
my $count = ProvconnQueue::scaled(4000);
my $third = int($count / 4);

# A claim and a batch of refreshes, until nothing is due.
my $batch_worker = <<'SQL';
DO $$
DECLARE
	claims provconn_claimed[];
	refused integer;
BEGIN
	LOOP
		claims := ARRAY(SELECT c FROM provconn_claim_due('batch %d', max_connections => 50) AS c);
		COMMIT;
		EXIT WHEN cardinality(claims) = 0;
		SELECT count(*) FILTER (WHERE NOT r.ok) INTO refused FROM provconn_refresh_batch(
			ARRAY(SELECT provconn_refresh_command(c.connection_id,
					provconn_token_response(answer(c.provider_slug, c.secret_text)))
				FROM unnest(claims) WITH ORDINALITY AS c ORDER BY c.ordinality),
			ARRAY(SELECT c.lease FROM unnest(claims) WITH ORDINALITY AS c ORDER BY c.ordinality)) AS r;
		COMMIT;
		IF refused > 0 THEN
			RAISE '%% refused', refused;
		END IF;
	END LOOP;
END
$$
SQL

ProvconnQueue::prepare($admin, @slugs);
# one provider has half of them, so that the others come to an end before it
my %share = (acme => $count - 2 * $third, brick => $third, corn => $third);
ProvconnQueue::connect_many($admin, $_, $share{$_}, "now() - n * interval '1 millisecond'") for @slugs;
# and some that are not due, or not to be refreshed
ProvconnQueue::connect_many($admin, 'acme', 50, q(now() + interval '1 day'));
$admin->must('ANALYZE provconn.connection');

my $size = ProvconnNode::log_size($node);
my $begin = time();
my @workers = map { ProvconnNode::session($node, user => 'worker') } (1 .. 8);
for my $n (0 .. $#workers)
{
	$workers[$n]->start_query(
		$n % 2
		? sprintf($batch_worker, $n)
		: "CALL refresh_worker(worker => 'plain $n', provider => 'answer'::regproc, rounds => 1000000, max_connections => 50)");
}
for my $n (0 .. $#workers)
{
	my $result = $workers[$n]->finish;

	is($result->{error} ? $result->{error}{M} : 'none', 'none', "worker $n ends without an error");
}
my $seconds = time() - $begin;
diag(sprintf('%d connections in %.1f s: %.0f per second', $count, $seconds, $count / $seconds))
  if $ENV{PROVCONN_TEST_SCALE};

my $log = ProvconnNode::log_since($node, $size);
is(ProvconnQueue::complaints($log), '', 'no deadlock, no serialization failure, no error in the log');

is($admin->value('SELECT count(*) FROM provconn_connections WHERE version = 2 AND expires_at > now()'
		  . ' AND leased_by IS NULL AND leased_until IS NULL AND failure_count = 0'),
	$count, 'all that were due are refreshed');
is($admin->value('SELECT count(*) FROM provconn_connections WHERE version = 1'), 50, 'and no others');
is($admin->value(q(SELECT count(*) FROM provconn_audit_log WHERE action = 'claim_due')),
	$count, 'as many claims as connections');
is($admin->value(q(SELECT count(DISTINCT connection_id) FROM provconn_audit_log WHERE action = 'claim_due')),
	$count, 'none was claimed twice');
is($admin->value(q(SELECT count(*) FROM provconn_audit_log WHERE action IN ('refresh', 'refresh_batch') AND outcome = 'succeeded')),
	$count, 'as many refreshes');
is($admin->value(q(SELECT count(*) FROM provconn_audit_log WHERE outcome <> 'succeeded' OR action NOT IN ('connect', 'claim_due', 'refresh', 'refresh_batch'))),
	0, 'nothing else is on record');
is($admin->value(q(SELECT count(*) FROM (
		SELECT connection_id, array_agg(seq ORDER BY occurred_at, seq) AS seqs,
			array_agg(action ORDER BY seq) AS actions
		FROM provconn_audit_log GROUP BY connection_id HAVING count(*) > 1) AS c
		WHERE seqs = '{1,2,3}' AND actions[1:2] = '{connect,claim_due}')),
	$count, 'seq is gapless, and time goes with it');
cmp_ok($admin->value(q(SELECT count(DISTINCT reason) FROM provconn_audit_log WHERE action = 'claim_due')),
	'>=', 4, 'many workers had their part');
is($admin->value(q(SELECT count(*) FROM provconn.provider_health WHERE allowance IS NOT NULL OR failures > 0)),
	0, 'no breaker has moved');
is($admin->value(q(SELECT count(*) FROM provconn_claim_due('afterwards'))), 0, 'nothing is left');

done_testing();
