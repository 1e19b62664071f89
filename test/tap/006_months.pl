# The months of the audit: whatever a DBA, a dump or the calendar took away, the
# next command makes again; what stands in its way is named.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use ProvconnNode;
use Test::More;

my $node     = ProvconnNode::make('main');
my $admin    = ProvconnNode::session($node);
my $provider = q('00000000-0000-4000-8000-0000000000aa');
my $user     = q('00000000-0000-4000-8000-000000000001');
my $initiate = "SELECT status FROM provconn_initiate($user, $provider, 'acme')";

$admin->must("INSERT INTO provconn.provider (provider_id, slug, name, credential_type)"
	  . " VALUES ($provider, 'acme', 'Acme', 'custom')");
$admin->must($_)
  for (
	'CREATE ROLE app LOGIN',
	q(SELECT provconn_grant('app', 'application')),
	'ALTER DEFAULT PRIVILEGES IN SCHEMA provconn GRANT ALL ON TABLES TO app');

# The months that there should be: this one, in UTC, and three to come.
my @expected = map {
	$admin->value("SELECT to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + interval '$_ months', 'YYYY_MM')")
} (0 .. 3);
my ($this_month, $next_month) = @expected;
(my $label = $this_month) =~ tr/_/-/;

sub months
{
	return join(' ',
		map { $_->[0] } @{
			$admin->must(q(SELECT replace(inhrelid::regclass::text, 'provconn.audit_', '') FROM pg_inherits
				WHERE inhparent = 'provconn.audit'::regclass ORDER BY 1))->{rows}
		});
}

sub drop_months
{
	$admin->must("DROP TABLE IF EXISTS provconn.audit_$_") for @_ ? @_ : split(/ /, months());
	return;
}

# An ordinary role sends a command; it needs no right on anything but the function.
sub command
{
	my ($sql) = @_;
	my $session = ProvconnNode::session($node, user => 'app', options => '-c TimeZone=Pacific/Kiritimati');
	my $result = $session->query($sql || $initiate);

	$session->close;
	return $result;
}

sub goes_through
{
	my ($name, @months) = @_;
	my $result = command();

	is($result->{error} ? $result->{error}{M} : $result->{rows}[0][0], 'pending', "$name: the command goes through");
	is_deeply($result->{notices}, [], "$name: without a word");
	is(months(), join(' ', sort @months ? @months : @expected), "$name: the months are there");
	return;
}

is(months(), '', 'a fresh installation has no month');
goes_through('a fresh installation');

# What a month is like.
is($admin->value(q(SELECT bool_and(upper = next) FROM (
		SELECT split_part(bound, '''', 4) AS upper, lead(split_part(bound, '''', 2)) OVER (ORDER BY bound) AS next
		FROM (SELECT pg_get_expr(relpartbound, oid) AS bound FROM pg_class WHERE oid IN (
			SELECT inhrelid FROM pg_inherits WHERE inhparent = 'provconn.audit'::regclass)) AS b) AS u WHERE next IS NOT NULL)),
	't', 'there is no gap between months');
for my $month (@expected)
{
	my $table = "'provconn.audit_$month'::regclass";

	is($admin->value("SELECT string_agg(tgname || ' ' || tgenabled::text, ', ' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = $table"),
		'provconn_audit_guard A, provconn_audit_no_truncate A, provconn_import A', "$month has its triggers, enabled always");
	is($admin->value("SELECT string_agg(regexp_replace(pg_get_indexdef(indexrelid), '.* USING ', '') || ' ' || indisprimary, ', ' ORDER BY indisprimary) FROM pg_index WHERE indrelid = $table"),
		q(btree (connection_id, audit_id) false, btree (user_id) WHERE ((owner_id IS NOT NULL) OR (error_code = 'connection_not_found'::text) OR (outcome = 'rolled_back'::text)) false, brin (transaction_id provconn.xid8_minmax_ops) WITH (pages_per_range='16') false, btree (shard_key, audit_id) true), "$month has its indexes");
	is($admin->value("SELECT relowner = (SELECT relowner FROM pg_class WHERE oid = 'provconn.audit'::regclass) FROM pg_class WHERE oid = $table"),
		't', "$month has the owner of its parent");
	is($admin->value("SELECT has_table_privilege('app', $table, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')"),
		'f', "$month gives no right that default privileges would");
	is($admin->value("SELECT count(*) FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = $table AND deptype = 'e'"),
		'0', "$month is no member of the extension, so that pg_dump keeps it");
	is($admin->query("INSERT INTO provconn.audit_$month DEFAULT VALUES")->{error}{C}, 'PV110', "INSERT INTO provconn.audit_$month");
	for my $sql ("UPDATE provconn.audit_$month SET reason = NULL", "DELETE FROM provconn.audit_$month", "TRUNCATE provconn.audit_$month")
	{
		# a month without rows has nothing for a row trigger to refuse
		my $error = $admin->query($sql)->{error};
		is($error ? $error->{C} : 'none', $month eq $this_month || $sql =~ /TRUNCATE/ ? 'PV110' : 'none', $sql);
	}
}

# Taken away.
drop_months();
goes_through('all months dropped');
drop_months($this_month);
goes_through('this month dropped');
drop_months($expected[3]);
goes_through('the last month dropped');
drop_months(@expected[ 1 .. 3 ]);
goes_through('all months but this one dropped');

# Made and not committed.
drop_months();
$admin->must('BEGIN');
$admin->must($initiate);
is(months(), join(' ', @expected), 'a transaction makes the months');
$admin->must('ROLLBACK');
is(months(), '', 'and takes them back');
goes_through('after a rollback');

my $bound = $admin->value("SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = 'provconn.audit_$this_month'::regclass");

# Detached: in the way, as long as it has the name.
$admin->must("ALTER TABLE provconn.audit DETACH PARTITION provconn.audit_$this_month");
my $rows = $admin->value("SELECT count(*) FROM provconn.audit_$this_month");
my $error = command()->{error};
is("$error->{C} $error->{M}",
	"PV112 provconn.audit has no partition for $label and none could be made: another table has its name",
	'this month detached: an error that names it');
is($error->{H}, 'Rename or detach what stands in the way, and repeat the command.', 'with a hint');
$admin->must("ALTER TABLE provconn.audit_$this_month RENAME TO kept");
goes_through('this month detached and renamed');
drop_months($this_month);
$admin->must("ALTER TABLE provconn.kept RENAME TO audit_$this_month");
$admin->must("ALTER TABLE provconn.audit ATTACH PARTITION provconn.audit_$this_month $bound");
goes_through('this month attached again');
is($admin->value('SELECT count(*) FROM provconn_audit_log'), $rows + 1, 'with its rows');

# A later month in the way is no reason to stop, but one to say so.
$admin->must("ALTER TABLE provconn.audit DETACH PARTITION provconn.audit_$expected[3]");
my $result = command();
is($result->{rows}[0][0], 'pending', 'a later month detached: the command goes through');
like($result->{notices}[0]{M}, qr/has no partition for \d{4}-\d\d: another table has its name/, 'with a warning');
$admin->must("DROP TABLE provconn.audit_$expected[3]");
goes_through('a later month dropped');

# Found by its bounds, whatever its name.
$admin->must("ALTER TABLE provconn.audit_$this_month RENAME TO \"audit of now\"");
is(command()->{rows}[0][0], 'pending', 'a month of another name takes the row');
is($admin->value('SELECT count(*) FROM provconn."audit of now"'), $rows + 4, 'and no other');
$admin->must("ALTER TABLE provconn.\"audit of now\" RENAME TO audit_$this_month");

# As a dump restored months later has it: old months and their rows, none of now.
ProvconnNode::make_old_month($admin);
drop_months(@expected);
is(months(), '2020_01', 'a month of long ago is left');
goes_through('months later', '2020_01', @expected);
is($admin->value('SELECT count(*) FROM provconn_audit_log'), '2', 'the old row and the new one');

# Many sessions at once, each with its own transaction.
drop_months(@expected);
my @sessions = map { ProvconnNode::session($node, user => 'app') } (1 .. 6);
$_->start_query($initiate) for @sessions;
is(join(' ', map { my $r = $_->finish; $r->{error} ? $r->{error}{M} : $r->{rows}[0][0] } @sessions),
	'pending pending pending pending pending pending', 'six sessions at once go through');
is(months(), join(' ', '2020_01', @expected), 'and make each month once');

# Two at once, where the first one fails in the end.
drop_months(@expected);
$sessions[0]->must('BEGIN');
$sessions[0]->must($initiate);
$sessions[1]->start_query($initiate);
ok(ProvconnNode::wait_until(
		sub { $admin->value('SELECT count(*) FROM pg_locks WHERE NOT granted') > 0 }),
	'the second session waits for the first');
$sessions[0]->must('ROLLBACK');
is($sessions[1]->finish->{rows}[0][0], 'pending', 'and goes through when that fails');
is(months(), join(' ', '2020_01', @expected), 'having made the months itself');

# A statement that has the audit open cannot have its months made below it; one
# that reads its partitions can.
drop_months(@expected);
$admin->must('ALTER TABLE provconn.audit DISABLE TRIGGER provconn_import');
my $open = "INSERT INTO provconn.audit SELECT a.* FROM provconn.audit AS a,"
  . " provconn_initiate($user, $provider, 'acme') AS i WHERE i.status IS NULL";
$error = $admin->query($open)->{error} || {};
is($error->{C}, 'PV112', 'a statement that has the audit open is an error');
is($error->{M},
	"provconn.audit has no partition for $label and none could be made: the statement that calls this function reads the audit",
	'which says so');
is($admin->query("SELECT count(*) FROM provconn_initiate($user, $provider, 'acme'), provconn_audit_log")->{error},
	undef, 'one that reads it goes through');
is(months(), join(' ', '2020_01', @expected), 'and has made the months');
is($admin->query($open)->{error}, undef, 'so that the first one does, too');
$admin->must('ALTER TABLE provconn.audit ENABLE ALWAYS TRIGGER provconn_import');

# A default partition takes what comes.
drop_months(@expected);
$admin->must('CREATE TABLE provconn.audit_rest PARTITION OF provconn.audit DEFAULT');
is(command()->{rows}[0][0], 'pending', 'a default partition takes the row');
is($admin->query('DELETE FROM provconn.audit_rest')->{error}{C}, 'PV110', 'and keeps it');
$admin->must('DROP TABLE provconn.audit_rest');

# A partition that is no plain table.
$admin->must("CREATE TABLE provconn.audit_odd PARTITION OF provconn.audit $bound PARTITION BY HASH (shard_key)");
$error = command()->{error};
is("$error->{C} $error->{M}", 'PV107 provconn.audit_odd is not the kind of relation that provconn made',
	'a partitioned month is an error that names it');
$admin->must('DROP TABLE provconn.audit_odd');
goes_through('the end', '2020_01', @expected);

done_testing();
