# A provider is down for a day: how often it is asked meanwhile, that nobody is
# given up for it, and how it is spared when it comes back.
#
# The day is simulated: all settings that are times are 4,000 times shorter than
# their defaults, so that a day takes 21.6 s.  PROVCONN_TEST_SCALE makes it, and
# them, so much longer.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use ProvconnNode;
use ProvconnQueue;
use Test::More;

my $scale = ($ENV{PROVCONN_TEST_SCALE} || 1) / 4000;

# In milliseconds.
my $day      = 86_400_000 * $scale;
my $base     = rounded(30_000 * $scale);
my $cap      = rounded(3_600_000 * $scale);
my $interval = rounded(60_000 * $scale);
my $give_up  = rounded(3 * $day);

my $node = ProvconnNode::make('main', conf => 'max_connections = 40');

# Databases, each with its settings and workers; all are under way at once.
my %admin;
my @workers;

# Backoff alone.
make_database('backoff', 'provconn.breaker_threshold' => 0);
# With the breaker; but for it, a connection would be given up when it fails twice.
make_database('breaker', 'provconn.give_up_failures' => 2, 'provconn.give_up_after' => 0);
# The return of a provider: steps of 200 ms, of 16 connections at most.
make_database(
	'recovery',
	'provconn.breaker_interval'  => '12s',
	'provconn.breaker_limit'     => 16,
	'provconn.breaker_threshold' => 5,
	'provconn.backoff_base'      => '1ms',
	'provconn.backoff_cap'       => '20ms');
# A worker that never commits.
make_database('poller', 'provconn.breaker_interval' => '300ms', 'provconn.breaker_threshold' => 1);

my %count = (backoff => 60, breaker => 200, recovery => 200);
for my $database (sort keys %count)
{
	ProvconnQueue::connect_many($admin{$database}, 'acme', $count{$database},
		q(now() + n * interval '1 millisecond'));
	start_worker($database) for 1 .. ($database eq 'recovery' ? 3 : 1);
}

# The return, while the day goes by.
my $admin = $admin{recovery};
# (what was claimed before that is tried all the same)
ok( ProvconnNode::wait_until(
		sub {
			$admin->value('SELECT coalesce(allowance, 0) = 1 AND NOT EXISTS (SELECT FROM provconn.connection WHERE leased_until > now())'
				  . ' FROM provconn.provider_health') eq 't';
		}),
	'a provider that does not answer has its breaker opened');
$admin->must('UPDATE outage SET down = false');
my $back = $admin->value('SELECT clock_timestamp()');
poll_in_a_transaction();
all_refreshed('recovery');
cmp_ok($admin->value("SELECT count(*) FROM provconn_audit_log WHERE action = 'claim_due' AND occurred_at > '$back'"),
	'>=', 200, 'every connection was claimed anew');
# The claims after the success of the probe, which begins the first step.
$admin->must(q(CREATE VIEW success AS SELECT min(occurred_at) AS began FROM provconn_audit_log WHERE action = 'refresh'));
$admin->must(q(CREATE VIEW rationed AS SELECT connection_id, transaction_id, occurred_at,
		1000 * extract(epoch FROM occurred_at - began) AS ms
	FROM provconn_audit_log, success WHERE action = 'claim_due' AND occurred_at > began));
is($admin->value('SELECT count(DISTINCT connection_id) FROM rationed'), 199, 'all but the probe are claimed after it');
# A row's time is never before that of its claim, so this bound is strict.
is($admin->value(q(SELECT so_far || ' after ' || round(ms) || ' ms' FROM (
		SELECT ms, count(*) OVER (ORDER BY ms) AS so_far FROM rationed) AS c
		WHERE so_far > (SELECT sum(least(2 ^ (step + 1), 16)) FROM generate_series(0, floor(ms / 200)::int) AS step)
		ORDER BY ms LIMIT 1)),
	undef, 'no more than 2, 4, 8, 16, 16 ... of them, a step each');
is($admin->value(q(SELECT max(n) FROM (SELECT count(*) AS n FROM rationed GROUP BY transaction_id) AS c)),
	16, 'no claim has more than breaker_limit');
# Steps are a step apart; half of one is left for what delays a claim's first row.
cmp_ok($admin->value(q(SELECT max(near) FROM (
		SELECT sum(n) OVER (ORDER BY begun RANGE BETWEEN '100 ms' PRECEDING AND CURRENT ROW) AS near
		FROM (SELECT min(occurred_at) AS begun, count(*) AS n FROM rationed GROUP BY transaction_id) AS c) AS w)),
	'<=', 16, 'and neither have all claims together in a step');
is($admin->value('SELECT allowance FROM provconn.provider_health'), undef, 'in the end the breaker is closed');
is($admin->value(q(SELECT count(*) FROM provconn_audit_log WHERE action = 'report_failure' AND occurred_at > (SELECT began FROM success))),
	0, 'nothing has failed since');

# A day after the beginning.
ok( ProvconnNode::wait_until(
		sub {
			$admin{backoff}->value("SELECT clock_timestamp() > begun + interval '$day ms' FROM outage") eq 't';
		},
		$day / 1000 + $PostgreSQL::Test::Utils::timeout_default),
	'a day has gone by');
$admin{$_}->must('UPDATE outage SET down = false, ended = clock_timestamp()') for qw(backoff breaker);

# The first failures come after delays of at most 2, 4, 8 ... times the base, all
# later ones after delays drawn evenly between base and cap: in a day about
# log2(cap / base) + day / ((base + cap) / 2) attempts, that is 7 + 48 = 55.
# A connection that draws short delays has more: with 48 delays, each with a
# standard deviation of 0.29 cap, 1.6 times as many are eight deviations away.
my $expected = log($cap / $base) / log(2) + $day / (($base + $cap) / 2);
$admin = $admin{backoff};
$admin->must(q(CREATE VIEW attempts AS SELECT connection_id, count(*) AS n FROM provconn_audit_log, outage
	WHERE action = 'report_failure' AND occurred_at < ended GROUP BY connection_id));
cmp_ok($admin->value('SELECT max(n) FROM attempts'),
	'<=', 1.6 * $expected, sprintf('without a breaker no connection is tried more than 1.6 x %.0f times', $expected));
cmp_ok($admin->value('SELECT min(n) FROM attempts'),
	'>=', $expected / 1.6, 'nor less than it should be, so that this is a test');
is($admin->value('SELECT count(*) FROM attempts'), 60, 'and all are tried');
is($admin->value(q(SELECT count(*) FROM provconn_audit_log WHERE new_status = 'expired')), 0, 'a day is too short to give up');

# One probe in each interval; before that, what was claimed at once.
$admin = $admin{breaker};
$admin->must(q(CREATE VIEW probe AS SELECT occurred_at,
		occurred_at - lag(occurred_at) OVER (ORDER BY occurred_at) AS gap
	FROM provconn_audit_log, outage
	WHERE action = 'claim_due' AND occurred_at < ended
		AND occurred_at > (SELECT min(occurred_at) FROM provconn_audit_log WHERE action = 'report_failure')));
cmp_ok($admin->value('SELECT count(*) FROM probe'), '<=', $day / $interval,
	sprintf('with a breaker there are no more than %.0f probes in all', $day / $interval));
cmp_ok($admin->value('SELECT count(*) FROM probe'), '>=', 200, 'but some, so that this is a test');
is($admin->value("SELECT count(*) FROM probe WHERE gap < interval '$interval ms'"), 0, 'and an interval between two of them');
cmp_ok($admin->value(q(SELECT max(n) FROM (
		SELECT count(*) AS n FROM provconn_audit_log, outage
		WHERE action = 'report_failure' AND occurred_at < ended GROUP BY connection_id) AS c)),
	'>=', 2, 'connections have failed that would have been given up');
is($admin->value(q(SELECT count(*) FROM provconn_audit_log WHERE new_status = 'expired')), 0, 'but none was');

all_refreshed($_) for qw(backoff breaker);
$_->must('UPDATE outage SET stop = true') for values %admin;
is($_->finish->{error}, undef, 'a worker ends without an error') for @workers;
is(ProvconnQueue::complaints(ProvconnNode::log_since($node, 0)), '', 'the log has nothing to complain of');

done_testing();

sub rounded
{
	my ($milliseconds) = @_;

	return int($milliseconds + 0.5) || 1;
}

# A database with a provider that is down.
sub make_database
{
	my ($name, %settings) = @_;

	%settings = (
		'provconn.backoff_base'     => "${base}ms",
		'provconn.backoff_cap'      => "${cap}ms",
		'provconn.breaker_interval' => "${interval}ms",
		'provconn.give_up_after'    => "${give_up}ms",
		%settings);
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->safe_psql($name, 'CREATE EXTENSION provconn CASCADE');
	$node->safe_psql($name, "ALTER DATABASE $name SET $_ = '$settings{$_}'") for sort keys %settings;
	$admin{$name} = ProvconnNode::session($node, dbname => $name);
	ProvconnQueue::prepare($admin{$name}, 'acme');
	$admin{$name}->must($_)
	  for (
		'CREATE TABLE outage AS SELECT true AS down, false AS stop, clock_timestamp() AS begun, NULL::timestamptz AS ended',
		'GRANT SELECT ON outage TO worker',
		q(CREATE FUNCTION ask(slug text, credential text) RETURNS text LANGUAGE plpgsql AS $$
		BEGIN
			IF (SELECT down FROM outage) THEN
				RAISE 'no route to host';
			END IF;
			RETURN answer(slug, credential);
		END $$));
	return;
}

# A worker that looks for work every few milliseconds.
sub start_worker
{
	my ($database) = @_;
	my $session = ProvconnNode::session($node, dbname => $database, user => 'worker');

	$session->start_query(
		q(DO $$
		BEGIN
			LOOP
				CALL refresh_worker(worker => 'w', provider => 'ask'::regproc, lease_for => '1 second');
				EXIT WHEN (SELECT stop FROM outage);
				PERFORM pg_sleep(0.003);
				COMMIT;
			END LOOP;
		END $$));
	push @workers, $session;
	return;
}

# A worker that asks again and again in one transaction keeps no other's success
# from the breaker.
sub poll_in_a_transaction
{
	my $claim  = q(SELECT connection_id, lease FROM provconn_claim_due('%s', max_connections => %d));
	my $poll   = sprintf($claim, 'poller', 100);
	my $worker = ProvconnNode::session($node, dbname => 'poller', user => 'worker');
	my $poller = ProvconnNode::session($node, dbname => 'poller', user => 'worker');
	my @probe;

	ProvconnQueue::connect_many($admin{poller}, 'acme', 5, 'now()');
	my ($id, $lease) = @{ $worker->must(sprintf($claim, 'w', 1))->{rows}[0] };
	$worker->must("SELECT provconn_unwrap(provconn_report_failure('$id', '$lease', 'HTTP 503'))");
	$poller->must('BEGIN');
	is(scalar @{ $poller->must($poll)->{rows} }, 0, 'poller: nothing is claimed while the breaker is open');
	ok(ProvconnNode::wait_until(sub { @probe = map { @$_ } @{ $worker->must(sprintf($claim, 'w', 1))->{rows} } }),
		'poller: then another worker has the probe');
	is(scalar @{ $poller->must($poll)->{rows} }, 0, 'poller: nothing is claimed meanwhile');
	$worker->must("SELECT provconn_unwrap(provconn_refresh(provconn_refresh_command('$probe[0]', provconn_oauth2_credentials('second')), '$probe[1]'))");
	is($admin{poller}->value('SELECT allowance FROM provconn.provider_health'),
		2, 'poller: its open transaction does not hide the recovery');
	cmp_ok(scalar @{ $poller->must($poll)->{rows} }, '>=', 2, 'poller: which it sees itself when it asks again');
	$poller->must('ROLLBACK');
	$_->close for $worker, $poller;
	return;
}

sub all_refreshed
{
	my ($database) = @_;

	ok( ProvconnNode::wait_until(
			sub {
				$admin{$database}->value(q(SELECT bool_and(version = 2 AND status = 'active' AND failure_count = 0) FROM provconn_connections)) eq 't';
			}),
		"$database: when the provider is back, every connection is refreshed");
	return;
}
