# What a claim costs: it grows with the connections that it returns, not with
# those that are leased, backing off, not due yet, or due and left to others.
#
# Out of 2,000 connections, then out of 20,000; PROVCONN_TEST_SCALE=50 makes that
# 1,000,000.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use ProvconnNode;
use ProvconnQueue;
use Test::More;
use Time::HiRes qw(time);

my $node  = ProvconnNode::make('main', conf => "autovacuum = off\nmax_wal_size = 4GB");
my $admin = ProvconnNode::session($node, options => '-c session_preload_libraries=auto_explain');
my $total = ProvconnQueue::scaled(20000);

ProvconnQueue::prepare($admin, qw(crowd small smaller));
ProvconnQueue::connect_many($admin, $_, 5, 'now()') for qw(small smaller);

# Of ten connections to the crowd's provider four are not due, three leased, two
# backing off, and one is due.
sub fill
{
	my ($count) = @_;

	ProvconnQueue::connect_many($admin, 'crowd', $count,
		q(now() + CASE WHEN n % 10 < 4 THEN interval '1 day' WHEN n % 10 < 9 THEN interval '-1 hour' ELSE '0' END));
	my $crowd = ProvconnQueue::provider('crowd');
	$admin->must(
		"WITH fresh AS (
			SELECT connection_id, row_number() OVER (ORDER BY connection_id) % 5 AS part FROM provconn.connection
			WHERE expires_at < now() - interval '30 minutes' AND audit_seq = 1 AND provider_id = $crowd)
		UPDATE provconn.connection AS c SET
			leased_by = CASE WHEN part < 3 THEN 'somebody' END,
			lease = CASE WHEN part < 3 THEN gen_random_uuid() END,
			leased_until = CASE WHEN part < 3 THEN now() + interval '1 day' END,
			failure_count = CASE WHEN part < 3 THEN 0 ELSE 1 END,
			next_attempt_at = CASE WHEN part < 3 THEN NULL ELSE now() + interval '1 hour' END
		FROM fresh AS f WHERE f.connection_id = c.connection_id");
	return;
}

my %counters = (
	'rows of the table'    => q(pg_stat_get_xact_tuples_fetched('provconn.connection_queue_idx'::regclass)),
	'entries of the queue' => q(pg_stat_get_xact_tuples_returned('provconn.connection_queue_idx'::regclass)),
	'sequential reads'     => q(pg_stat_get_xact_tuples_returned('provconn.connection'::regclass)),
	'sequential scans'     => q(pg_stat_get_xact_numscans('provconn.connection'::regclass)),
	'other index scans'    => q((SELECT sum(pg_stat_get_xact_numscans(indexrelid)) FROM pg_index
		WHERE indrelid = 'provconn.connection'::regclass AND indexrelid NOT IN
			('provconn.connection_queue_idx'::regclass, 'provconn.connection_pkey'::regclass, 'provconn.connection_id_idx'::regclass))));

sub read_counters
{
	return map { $_ => $admin->value("SELECT $counters{$_}") } keys %counters;
}

# A claim that is taken back, and what it touched.  The one before it has passed
# over what updates have left dead in the index, and marked it.
sub measure
{
	my ($name, $max) = @_;

	$admin->must("BEGIN; SELECT FROM provconn_claim_due('w', max_connections => $max); ROLLBACK");
	$admin->must('BEGIN');
	my %before  = read_counters();
	my $begin   = time();
	my $claimed = $admin->must("SELECT provider_slug, count(*) FROM provconn_claim_due('w', max_connections => $max) GROUP BY 1 ORDER BY 1");
	my $seconds = time() - $begin;
	my %after   = read_counters();
	$admin->must('ROLLBACK');

	my %touched = map { $_ => $after{$_} - $before{$_} } keys %after;
	my $rows = 0;
	$rows += $_->[1] for @{ $claimed->{rows} };
	my $text = join(', ', map { "$touched{$_} $_" } sort keys %touched);
	diag(sprintf('%s, %d rows: %.1f ms, %s', $name, $rows, 1000 * $seconds, $text)) if $ENV{PROVCONN_TEST_SCALE};
	is($rows, $max, "$name: $max connections are claimed");
	is($touched{'sequential scans'} + $touched{'sequential reads'} + $touched{'other index scans'},
		0, "$name: by the queue's index alone") or diag($text);
	cmp_ok($touched{$_}, '<=', 4 * $rows + 20, "$name: at most four $_ for each") for ('rows of the table', 'entries of the queue');
	return (\%touched, join(' ', map { "$_->[0] $_->[1]" } @{ $claimed->{rows} }));
}

fill($total / 10);
my ($few, $shares) = measure('a tenth, no statistics', 100);
is($shares, 'crowd 90 small 5 smaller 5', 'the small providers get their turn beside the crowd');
my ($one) = measure('a tenth, one connection', 1);

fill($total - $total / 10);
is($admin->value("SELECT count(*) FROM provconn_connections WHERE leased_until > now()"), $total * 3 / 10, 'three of ten are leased');
is($admin->value("SELECT count(*) FROM provconn_connections WHERE next_attempt_at > now()"), $total * 2 / 10, 'two of ten are backing off');
my ($many) = measure('all, old statistics', 100);
$admin->must('VACUUM ANALYZE provconn.connection');
my ($analyzed, $same) = measure('all, new statistics', 100);
is($same, $shares, 'the small providers get as much beside a crowd ten times as large');
measure('all, one connection', 1);

for my $what ('rows of the table', 'entries of the queue')
{
	cmp_ok($many->{$what}, '<=', 1.2 * $few->{$what} + 20, "out of ten times as many connections a claim touches as many $what");
	cmp_ok($analyzed->{$what}, '<=', 1.2 * $few->{$what} + 20, "and with new statistics, too");
}

# The same for provconn_expire_overdue, which asks the same index.
$admin->must('BEGIN');
my %before = read_counters();
is($admin->value(q(SELECT provconn_expire_overdue('0', 100))), 100, 'provconn_expire_overdue moves 100');
my %after = read_counters();
$admin->must('ROLLBACK');
is($after{'sequential scans'} - $before{'sequential scans'}, 0, 'without a sequential scan');
cmp_ok($after{'rows of the table'} - $before{'rows of the table'}, '<=', 1050, 'and without touching the others');

# And the plans themselves, as the server shows them.
$admin->must(q(SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on; SET client_min_messages = log));
my $result = $admin->must(q(BEGIN; SELECT count(*) FROM provconn_claim_due('w'); ROLLBACK));
my $plans = join("\n", map { $_->{M} } @{ $result->{notices} });
like($plans, qr/Index (Only )?Scan using connection_queue_idx on connection/, 'plans go by the index of the queue');
unlike($plans, qr/Seq Scan on connection|Bitmap/, 'and by nothing else');

done_testing();
