# DDL under live sessions: those that have long run every command, and so have all
# that they keep in memory, do what is right after every change of what lies below.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use IPC::Run ();
use ProvconnNode;
use ProvconnWarm;
use Test::More;

my $node  = ProvconnNode::make('main', conf => 'allow_in_place_tablespaces = on');
my $admin = ProvconnNode::session($node);

my @set_up = (
	"SELECT provconn_register_provider('acme', 'Acme', 'oauth2', NULL, " . ProvconnWarm::PROVIDER . ')',
	q(SELECT provconn_grant('app', c) FROM unnest('{application,secrets,worker,auditor}'::text[]) AS c));
$admin->must($_)
  for (
	'CREATE ROLE app LOGIN', 'CREATE ROLE keeper', @set_up, 'SET search_path = public, apart', 'ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO app',
	"CREATE TABLESPACE elsewhere LOCATION ''",
	q(CREATE TABLE fired (relation regclass, op text, who name, audit_id uuid, xid xid8 DEFAULT pg_current_xact_id())),
	q(CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
		INSERT INTO public.fired VALUES (TG_RELID, TG_WHEN || ' ' || TG_OP, current_user, NEW.audit_id);
		RETURN NEW; END$$));
my @warm = map { ProvconnWarm->new($node, options => '-c search_path=public,apart', %$_) } {}, { user => 'app' }, { user => 'app' };
my $open = ProvconnWarm->new($node, options => '-c search_path=public,apart');
is($_->round, ProvconnWarm::ROUND, 'a round') for @warm, $open;
$_->keep for @warm, $open;
$_->round for (@warm, $open) x 6;
my $month = $admin->value(q(SELECT 'provconn.audit_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')));

# Every row has its entry in every index, whoever made either.
$admin->must('CREATE EXTENSION amcheck');
my $all_indexed = q(SELECT bt_index_check(c.oid, true) FROM pg_class AS c JOIN pg_am AS a ON a.oid = c.relam
	WHERE c.relnamespace = 'provconn'::regnamespace AND c.relkind = 'i' AND a.amname = 'btree');

# --- the checker --------------------------------------------------------------

# A step is what is done and undone, by SQL.  It is done by a session itself, rolled
# back, and then by another one, in a transaction that commands wait for; after that
# and after it was undone every session runs a round, one of them in a transaction
# that is older than the step.  Beside do and undo it may have
#   says         what some commands say instead of a round, by their names
#   beside, beside_undo   the same of those that waited
#   leaves       whether these leave rows
#   check, look  queries that are true before it is undone, and a sub that looks then
#   open         how the older transaction begins
#   own          0: not by a session itself
#   alone, undo_alone     not in a transaction that commands wait for
#   outside      neither: it cannot run in a transaction
#   replan       statements have to be prepared anew
sub everybody
{
	my ($name, $says) = @_;

	goes_on($_, $name, $says) for @warm;
	return;
}

# A round, or what these commands say, none of which leaves a row.
sub goes_on
{
	my ($warm, $name, $says) = @_;

	return is($warm->round, ProvconnWarm::ROUND, $name) if !$says;
	for my $command (sort keys %$says)
	{
		my $in_transaction = $warm->{in_transaction};

		$warm->session->must('SAVEPOINT say') if $in_transaction;
		like($warm->say($command), $says->{$command}, "$name: $command");
		$warm->session->must('ROLLBACK TO say') if $in_transaction;
	}
	return;
}

# In one transaction, which two sessions wait for where it locks what they need: they
# go on as if they had come after it.
sub transact
{
	my ($name, $says, @sql) = @_;
	my %usual = (connect => qr/^t active 1$/, reveal => qr/^t \d+ kept$/);
	my %says = %{ $says || \%usual };
	my @commands = (sort keys %says)[ 0, -1 ];
	my @early;

	$admin->must($_) for 'BEGIN', @sql;
	$warm[$_]->start_say($commands[$_]) for 0, 1;
	my $end = time + 10;
	select(undef, undef, undef, 0.002) while time < $end && grep { !waits($_) } @warm[ 0, 1 ];
	ok(time < $end, "$name: two wait, or have no need to");
	@early = map { $_->session->is_ready } @warm[ 0, 1 ];
	$admin->must('COMMIT');
	for (0, 1)
	{
		my $command = $commands[$_];

		# Who had no need to wait came before it.
		like($warm[$_]->finish_say, $early[$_] && $usual{$command} ? qr/$says{$command}|$usual{$command}/ : $says{$command}, "$name: $command beside it");
	}
	return;
}

sub waits
{
	my ($warm) = @_;

	return $warm->session->is_ready
	  || $admin->value('SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = ' . $warm->session->pid);
}

# In a transaction of a warm session itself, or a part of one, and back.
sub undone
{
	my ($warm, $name, $step, @sql) = @_;
	my $session = $warm->session;

	for my $way ([ 'rolled back', ['BEGIN'], ['ROLLBACK'] ], [ 'a savepoint', [ 'BEGIN', 'SAVEPOINT a' ], ['ROLLBACK TO a'], ['COMMIT'] ])
	{
		my ($how, @ends) = @$way;

		$session->must($_) for @{ $ends[0] }, @sql;
		$warm->{in_transaction} = 1;
		$warm->prepare if $step->{replan};
		goes_on($warm, "$name, in the transaction ($how)", $step->{says});
		$session->must($_) for @{ $ends[1] };
		$warm->prepare if $step->{replan};
		goes_on($warm, "$name, $how");
		$session->must($_) for @{ $ends[2] || [] };
		$warm->{in_transaction} = 0;
	}
	return;
}

sub replan { $_->prepare for @warm, $open; return; }

sub count_rows
{
	return $admin->value(q(SELECT concat_ws(' ', (SELECT count(*) FROM provconn.connection), (SELECT count(*) FROM provconn.audit))));
}

sub step
{
	my ($name, %step) = @_;
	my @do = @{ $step{do} };
	my @undo = @{ $step{undo} };

	undone($warm[0], $name, \%step, @do) if !$step{outside} && ($step{own} // 1);
	$open->session->must($_) for @{ $step{open} || [ 'BEGIN', 'SELECT 1' ] };
	if ($step{outside} || $step{alone}) { $admin->must($_) for @do; }
	else                                { transact($name, $step{beside} || $step{says}, @do); }
	replan() if $step{replan};
	my $before = count_rows();
	everybody($name, $step{says});
	is(count_rows(), $before, "$name: nothing is left of what failed") if $step{says} && !$step{leaves};
	goes_on($open, "$name, in a transaction from before") if !$step{says};
	$open->session->must('COMMIT');
	is($admin->value($_), 't', "$name: $_") for @{ $step{check} || [] };
	$step{look}->($name) if $step{look};
	is($admin->query($all_indexed)->{error}, undef, "$name: the indexes have every row") if $step{outside};

	if ($step{outside} || $step{alone} || $step{undo_alone}) { $admin->must($_) for @undo; }
	else { transact("$name, taken back", $step{beside_undo}, @undo); }
	replan() if $step{replan};
	everybody("$name, taken back");
	return;
}

# Rows that warm sessions have just written are found by the index.
sub by_index
{
	my ($index, $table, $column) = @_;

	return sub {
		my ($name) = @_;

		$admin->must($_) for 'SET enable_seqscan = off', 'SET enable_bitmapscan = off';
		for my $warm (@warm, $open)
		{
			my $query = "SELECT count(*) FROM $table WHERE $column = '$warm->{alias}'";
			like(join("\n", map { $_->[0] } @{ $admin->must("EXPLAIN $query")->{rows} }), qr/Index.* using \Q$index\E /, "$name: the index is used");
			cmp_ok($admin->value($query), '>', 0, "$name: and has what came since");
		}
		$admin->must($_) for 'RESET enable_seqscan', 'RESET enable_bitmapscan';
	};
}

# --- columns, constraints, settings -------------------------------------------

my ($c, $a) = qw(provconn.connection provconn.audit);

for my $table ($c, $a)
{
	my $drop = ["ALTER TABLE $table DROP COLUMN extra"];
	my $add = "ALTER TABLE $table ADD COLUMN extra";

	step("$table: a column", do => ["$add text"], undo => $drop, check => ["SELECT bool_and(extra IS NULL) FROM $table"]);
	step("$table: a column with a default", do => ["$add text DEFAULT 'x'"], undo => $drop, check => ["SELECT bool_and(extra = 'x') FROM $table"]);
	step("$table: a column that must not be null", do => ["$add integer NOT NULL DEFAULT 7"], undo => $drop, check => ["SELECT bool_and(extra = 7) FROM $table"]);
	step("$table: a column with a volatile default", do => ["$add uuid DEFAULT gen_random_uuid()"], undo => $drop, check => ["SELECT count(DISTINCT extra) = count(*) FROM $table"]);
	step("$table: a generated column", do => ["$add integer GENERATED ALWAYS AS (shard_key + 1) STORED"], undo => $drop, check => ["SELECT bool_and(extra = shard_key + 1) FROM $table"]);
	step("$table: a column that nobody fills", do => [ "$add integer NOT NULL DEFAULT 7", "ALTER TABLE $table ALTER COLUMN extra DROP DEFAULT" ],
		undo => $drop, says => { connect => qr/^23502 / });
	step("$table: RENAME COLUMN", do => ["ALTER TABLE $table RENAME COLUMN provider_id TO other"], undo => ["ALTER TABLE $table RENAME COLUMN other TO provider_id"],
		says => { map { $_ => qr/^PV107 table provconn\.(connection|audit|audit_\d+_\d+) is not as provconn made it: column "provider_id" / } qw(connect expire reveal) },
		beside => { connect => qr/^(PV107|42703) /, reveal => qr/^PV107 / });
	step("$table: a CHECK that holds", do => ["ALTER TABLE $table ADD CONSTRAINT extra CHECK (shard_key >= 0)"], undo => ["ALTER TABLE $table DROP CONSTRAINT extra"]);
	step("$table: a CHECK that does not", do => ["ALTER TABLE $table ADD CONSTRAINT extra CHECK (version <> 1) NOT VALID"],
		undo => ["ALTER TABLE $table DROP CONSTRAINT extra"], says => { connect => qr/^23514 new row for relation "\w+" violates check constraint "extra"/ });
	my $where = $table eq $c ? $c : $month;
	my $event = $table eq $c ? 'INSERT OR UPDATE' : 'INSERT';
	step("$where: triggers", do => [ map({ "CREATE TRIGGER a_$_ $_ $event ON $where FOR EACH ROW EXECUTE FUNCTION fire()" } qw(before after)) ],
		undo => [ map({ "DROP TRIGGER a_$_ ON $where" } qw(before after)), 'TRUNCATE fired' ],
		check => [
			"SELECT count(*) FILTER (WHERE op LIKE 'BEFORE %') * 2 = count(*) AND count(*) > 50 AND bool_and(who = current_user) FROM fired",
			"SELECT bool_and(audit_id IN (SELECT audit_id FROM fired WHERE op LIKE 'AFTER %')) FROM provconn.audit WHERE transaction_id IN (SELECT xid FROM fired)"
			  . ($table eq $c ? ' AND seq IS NOT NULL' : '') ]);
	# Not in a transaction that is rolled back: PostgreSQL leaves entries in the indexes.
	step("$where: SET TABLESPACE", own => 0, do => ["ALTER TABLE $where SET TABLESPACE elsewhere"], undo => ["ALTER TABLE $where SET TABLESPACE pg_default"]);
	step("$where: settings", do => [ "ALTER TABLE $where SET (fillfactor = 50)", "ALTER TABLE $where ALTER COLUMN user_id SET STATISTICS 10" ],
		undo => [ "ALTER TABLE $where RESET (fillfactor)", "ALTER TABLE $where ALTER COLUMN user_id SET STATISTICS -1" ]);
}
step('storage', do => ["ALTER TABLE $c ALTER COLUMN credential SET STORAGE EXTENDED"],
	undo => ["ALTER TABLE $c ALTER COLUMN credential SET STORAGE EXTERNAL", "ALTER TABLE $c SET (fillfactor = 80)"]);

# --- who owns the tables, and row level security --------------------------------

# Single rows are read and written past the planner, so past policies; statements see
# what the tables' owner may see.
my @row_security = ("ALTER TABLE $c ENABLE ROW LEVEL SECURITY", "ALTER TABLE $c FORCE ROW LEVEL SECURITY", "CREATE POLICY nothing ON $c USING (false)");
my @no_row_security = ("DROP POLICY nothing ON $c", "ALTER TABLE $c NO FORCE ROW LEVEL SECURITY", "ALTER TABLE $c DISABLE ROW LEVEL SECURITY");

# All that the extension consists of.
sub all_to
{
	my ($role) = @_;

	return qq(DO \$\$DECLARE what text; BEGIN ALTER SCHEMA provconn OWNER TO $role;
		FOR what IN SELECT format('TABLE %s', oid::regclass) FROM pg_class WHERE relnamespace = 'provconn'::regnamespace AND relkind IN ('r', 'p', 'v')
			UNION ALL SELECT format('ROUTINE %s', objid::regprocedure) FROM pg_depend
				WHERE classid = 'pg_proc'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'provconn') LOOP
			EXECUTE format('ALTER %s OWNER TO $role', what); END LOOP; END\$\$);
}

step('row level security', do => ["ALTER TABLE $c ENABLE ROW LEVEL SECURITY"], undo => ["ALTER TABLE $c DISABLE ROW LEVEL SECURITY"]);
# The owner is a superuser, whom no policy concerns.
step('row level security, forced', do => \@row_security, undo => \@no_row_security);
step('another owner of all', do => [ all_to('keeper') ], undo => [ all_to('CURRENT_USER') ]);
step('row level security, forced on that owner', do => [ all_to('keeper'), @row_security ], undo => [ @no_row_security, all_to('CURRENT_USER') ],
	says => { claim => qr/^$/, connect => qr/^t active 1$/, reveal => qr/^t \d+ kept$/ }, leaves => 1);
step('another owner of one table', do => ["ALTER TABLE $c OWNER TO keeper"], undo => ["ALTER TABLE $c OWNER TO CURRENT_USER"],
	says => { connect => qr/^42501 permission denied for (function|schema) provconn/ },
	# It began under the other owner.
	beside_undo => { connect => qr/^42501 |^t active 1$/ },
	check => [q(SELECT status = 'critical' FROM provconn_doctor() WHERE check_name = 'owners')]);

# --- indexes ------------------------------------------------------------------

for my $index ([ $c, 'alias' ], [ $month, 'reason' ])
{
	my ($table, $column) = @$index;
	my $look = by_index('extra', $table, $column);

	step("$table: CREATE INDEX", do => ["CREATE INDEX extra ON $table ($column)"], undo => ['DROP INDEX provconn.extra'], look => $look);
	step("$table: CREATE INDEX CONCURRENTLY", outside => 1, do => ["CREATE INDEX CONCURRENTLY extra ON $table ($column)"],
		undo => ['DROP INDEX CONCURRENTLY provconn.extra'], look => $look);
	step("$table: a unique index", do => ["CREATE UNIQUE INDEX extra ON $table (audit_id, shard_key)"], undo => ['DROP INDEX provconn.extra']);

	my ($key) = map { $_->[0] } @{ $admin->must("SELECT indexrelid::regclass FROM pg_index WHERE indrelid = '$table'::regclass AND indisprimary")->{rows} };
	step("$table: $_", outside => 1, do => [$_], undo => ["VACUUM $table"])
	  for ("REINDEX TABLE $table", "REINDEX INDEX $key", "REINDEX TABLE CONCURRENTLY $table", "REINDEX INDEX CONCURRENTLY $key",
		"CLUSTER $table USING " . ($key =~ s/.*\.//r), "VACUUM FULL $table", "ANALYZE $table");
	step("$table: REINDEX in a transaction", do => ["REINDEX INDEX $key"], undo => ["REINDEX TABLE $table"]);
	step("$table: CLUSTER in a transaction", do => ["CLUSTER $table"], undo => ["CLUSTER $table"]);

	my ($name) = $key =~ /([^.]*)\z/;
	my $drop = "ALTER TABLE $table DROP CONSTRAINT $name";
	my $add = "ALTER TABLE $table ADD CONSTRAINT $name PRIMARY KEY";
	my ($first, $second) = $table eq $c ? qw(shard_key connection_id) : qw(shard_key audit_id);
	step("$table: no primary key", do => [$drop], undo => ["$add ($first, $second)"]);
	step("$table: a primary key in another order", do => [ $drop, "$add ($second, $first)" ], undo => [ $drop, "$add ($first, $second)" ]);
	step("$table: a primary key of one column", do => [ $drop, "$add ($second)" ], undo => [ $drop, "$add ($first, $second)" ]);
	step("$table: a primary key of other columns", do => [ $drop, "$add (audit_id)" ], undo => [ $drop, "$add ($first, $second)" ]) if $table eq $c;
}
step('a unique index that a command violates',
	do => [ 'SELECT provconn_initiate(gen_random_uuid(), ' . ProvconnWarm::PROVIDER . ", 'acme')", "CREATE UNIQUE INDEX extra ON $c (status) WHERE status = 'pending'" ],
	undo => ['DROP INDEX provconn.extra'], says => { initiate => qr/^23505 / });

# --- another table in its place -------------------------------------------------

# As by hand: a copy under another name, with all that hangs on it, that changes names
# with the table; its columns come in another order.
sub rewritten
{
	my ($table) = @_;
	my $name = $table =~ s/.*\.//r;

	return qq(DO \$\$DECLARE columns text := (SELECT string_agg(attname, ', ' ORDER BY attnum DESC) FROM pg_attribute
			WHERE attrelid = '$table'::regclass AND attnum > 0 AND NOT attisdropped);
		definitions text[] := ARRAY(SELECT pg_get_triggerdef(oid) || format('; ALTER TABLE $table ENABLE ALWAYS TRIGGER %I', tgname) FROM pg_trigger
			WHERE tgrelid = '$table'::regclass AND tgparentid = 0 AND NOT tgisinternal);
		required text[] := ARRAY(SELECT format('ALTER TABLE $table ALTER COLUMN %I SET NOT NULL', attname) FROM pg_attribute
			WHERE attrelid = '$table'::regclass AND attnum > 0 AND attnotnull)
			|| ARRAY(SELECT format('ALTER TABLE $table ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint
			WHERE conrelid = '$table'::regclass AND contype IN ('c', 'p'));
		indexes text[] := ARRAY(SELECT regexp_replace(pg_get_indexdef(indexrelid), ' INDEX .*? ON ', ' INDEX ON ') FROM pg_index
			WHERE indrelid = '$table'::regclass AND NOT indisprimary);
		bound text := (SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = '$table'::regclass);
		sql text;
		BEGIN
			IF bound IS NOT NULL THEN ALTER TABLE provconn.audit DETACH PARTITION $table; END IF;
			ALTER TABLE $table RENAME TO old_$name;
			ALTER INDEX provconn.${name}_pkey RENAME TO old_${name}_pkey;
			EXECUTE 'CREATE TABLE $table AS SELECT 1 AS gone, ' || columns || ' FROM provconn.old_$name';
			ALTER TABLE $table DROP COLUMN gone;
			FOREACH sql IN ARRAY required || indexes || definitions LOOP EXECUTE sql; END LOOP;
			IF bound IS NOT NULL THEN EXECUTE 'ALTER TABLE provconn.audit ATTACH PARTITION $table ' || bound; END IF;
		END\$\$);
}

# Back, with the rows that came meanwhile.
sub put_back
{
	my ($table) = @_;
	my $name = $table =~ s/.*\.//r;
	my $columns = $admin->value("SELECT string_agg(attname, ', ') FROM pg_attribute WHERE attrelid = '$table'::regclass AND attnum > 0 AND NOT attisdropped");

	return ("ALTER TABLE $table RENAME TO new_$name", "ALTER TABLE provconn.old_$name RENAME TO $name", "ALTER INDEX provconn.${name}_pkey RENAME TO new_${name}_pkey",
		"ALTER INDEX provconn.old_${name}_pkey RENAME TO ${name}_pkey",
		"ALTER TABLE $table DISABLE TRIGGER USER", "DELETE FROM $table", "INSERT INTO $table ($columns) SELECT $columns FROM provconn.new_$name",
		map({ "ALTER TABLE $table ENABLE ALWAYS TRIGGER " . $_->[0] } @{ $admin->must("SELECT tgname FROM pg_trigger WHERE tgrelid = '$table'::regclass AND NOT tgisinternal")->{rows} }),
		"DROP TABLE provconn.new_$name");
}

for my $other ([qw(provider slug connect)], ['provider_health'], [qw(data_key wrapped connect)], [qw(idempotency version connect)])
{
	my ($name, $column, $command) = @$other;
	my $table = "provconn.$name";

	step("$table: a column", do => ["ALTER TABLE $table ADD COLUMN extra uuid NOT NULL DEFAULT gen_random_uuid()"], undo => ["ALTER TABLE $table DROP COLUMN extra"]);
	step("$table: RENAME COLUMN", do => ["ALTER TABLE $table RENAME COLUMN $column TO other"], undo => ["ALTER TABLE $table RENAME COLUMN other TO $column"],
		says => { $command => qr/^PV107 table \Q$table\E is not as provconn made it: column "$column" / }) if $command;
	step("$table: VACUUM FULL", outside => 1, do => ["VACUUM FULL $table"], undo => ["REINDEX TABLE CONCURRENTLY $table"]);
	step("$table rewritten", do => [ rewritten($table) ], undo => [ put_back($table) ]);
}
step("$month rewritten", do => [ rewritten($month), 'DROP TABLE provconn.old_' . ($month =~ s/.*\.//r) ], undo => ["VACUUM $month"], undo_alone => 1);
step("$c rewritten", do => [ rewritten($c) ], undo => [ put_back($c) ]);

SKIP:
{
	my ($repack) = grep { -x } map { "$_/pg_repack" } split(/:/, $ENV{PATH});

	skip 'pg_repack is not installed: VACUUM FULL and CLUSTER swap files as it does', 1
	  if !$repack || $admin->query('CREATE EXTENSION pg_repack')->{error};
	for my $table ($c, $month)
	{
		my $run = IPC::Run::start([ $repack, '--no-order', '-t', $table, '-h', $node->host, '-p', $node->port, '-d', 'postgres' ], '>&', \my $said);

		do
		{
			everybody("$table under pg_repack");
			eval { $run->pump_nb };
		} while ($run->pumpable);
		ok($run->finish, "pg_repack of $table") or diag($said);
		everybody("$table after pg_repack");
	}
	$admin->must('DROP EXTENSION pg_repack CASCADE');
}

# --- months -------------------------------------------------------------------

ProvconnNode::make_old_month($admin);
my $old = 'provconn.audit_2020_01';
my $attach = $admin->value("SELECT 'ALTER TABLE provconn.audit ATTACH PARTITION $old ' || pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = '$old'::regclass");
my ($archive, $back) = (q(SELECT provconn_archive_audit('2020-01-15')), "SELECT provconn_attach_audit('$old')");
my @before = ('BEGIN ISOLATION LEVEL REPEATABLE READ', 'SELECT count(*) FROM pg_class');

step('a month archived', do => [$archive], undo => [$back], open => \@before);
step('a month detached', do => ["ALTER TABLE $a DETACH PARTITION $old"], undo => [$attach], open => \@before);
step('a month detached concurrently', outside => 1, do => ["ALTER TABLE $a DETACH PARTITION $old CONCURRENTLY"], undo => [$attach]);
my $last = $admin->value("SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = '$a'::regclass");
step('a month to come dropped', do => ["DROP TABLE $last"],
	undo => ["VACUUM $month"], undo_alone => 1, check => ["SELECT count(*) = 5 FROM pg_inherits WHERE inhparent = '$a'::regclass"]);

# Beside a transaction that has the audit in use.
$admin->must($archive);
$open->session->must('BEGIN');
goes_on($open, 'a transaction that has the audit in use');
$admin->must($back);
$open->session->must('SELECT FROM pg_inherits LIMIT 1'); # hears of it
goes_on($open, 'and goes on as a month is attached');
$open->session->must('COMMIT');
everybody('a month attached beside it');

# --- types and functions --------------------------------------------------------

step("$_: an attribute more", do => ["ALTER TYPE $_ ADD ATTRIBUTE extra text"], undo => ["ALTER TYPE $_ DROP ATTRIBUTE extra"], alone => 1)
  for qw(provconn_result provconn_revealed provconn_claimed provconn_credentials provconn_connect_command provconn_refresh_command provconn_disconnect_command);
step("$$_[0]: an attribute less", do => ["ALTER TYPE $$_[0] DROP ATTRIBUTE $$_[1]"], undo => ["ALTER TYPE $$_[0] ADD ATTRIBUTE $$_[1] $$_[2]"], alone => 1, replan => 1,
	says => { map { $_ => qr/^PV106 type \w+ is not as provconn made it: attribute / } @$_[ 3 .. $#$_ ] })
  for ([qw(provconn_result message text connect refresh rename)], [qw(provconn_revealed message text reveal)], [qw(provconn_connect_command alias text connect)]);
step("a label renamed", do => [q(ALTER TYPE provconn_status RENAME VALUE 'active' TO 'live')], undo => [q(ALTER TYPE provconn_status RENAME VALUE 'live' TO 'active')], alone => 1,
	says => { map { $_ => qr/^PV106 type provconn_status is not as provconn made it: attribute "active" / } qw(connect reveal refresh) });
step("$_ renamed", do => ["ALTER TYPE $_ RENAME TO other"], undo => ["ALTER TYPE other RENAME TO $_"], alone => 1,
	says => { connect => qr/^PV106 type $_ is not as provconn made it: attribute "\*" / })
  for qw(provconn_result provconn_credentials provconn_credential_type);
step('provconn_status renamed', do => ['ALTER TYPE provconn_status RENAME TO other'], undo => ['ALTER TYPE other RENAME TO provconn_status'], alone => 1);
step('a label more', outside => 1, do => [q(ALTER TYPE provconn_status ADD VALUE 'frozen' BEFORE 'active')], undo => [q(ALTER TYPE provconn_credential_type ADD VALUE 'rare')]);

my $replace = q(DO $$DECLARE f text; BEGIN FOR f IN SELECT pg_get_functiondef(oid) FROM pg_proc
	WHERE pronamespace = 'provconn'::regnamespace AND prorettype = 'trigger'::regtype LOOP EXECUTE f; END LOOP; END$$);
step('trigger functions replaced', do => [$replace], undo => [$replace]);
step('trigger functions altered', do => [ 'ALTER FUNCTION provconn.guard_connection() COST 7', q(ALTER FUNCTION provconn.audit_connection() SET work_mem = '1MB') ],
	undo => [ 'ALTER FUNCTION provconn.guard_connection() COST 1', 'ALTER FUNCTION provconn.audit_connection() RESET ALL' ]);
step("$_ disabled", do => ["ALTER TABLE $c DISABLE TRIGGER $_"], undo => ["ALTER TABLE $c ENABLE ALWAYS TRIGGER $_"], says => { refresh => qr/^PV111 / })
  for qw(zz_provconn_guard provconn_audit);
step('pgcrypto elsewhere', do => [ 'CREATE SCHEMA elsewhere', 'ALTER EXTENSION pgcrypto SET SCHEMA elsewhere' ],
	undo => [ 'ALTER EXTENSION pgcrypto SET SCHEMA public', 'DROP SCHEMA elsewhere' ]);

# --- the extension, gone and back -----------------------------------------------

sub is_sound
{
	my ($name) = @_;

	is_deeply($admin->must('SELECT problem, detail FROM provconn_verify_audit()')->{rows}, [], "$name: the audit verifies");
	is_deeply($admin->must(q(SELECT check_name, detail FROM provconn_doctor() WHERE status = 'critical'))->{rows}, [], "$name: the doctor finds nothing");
	return;
}

is_sound('all of that');

my @anew = ('DROP EXTENSION provconn CASCADE', 'CREATE EXTENSION provconn', @set_up);
undone($warm[0], 'the extension anew', {}, @anew);
my $library = $admin->value(q(SELECT probin FROM pg_proc WHERE proname = 'provconn_rotate_key'));
$admin->must("CREATE FUNCTION orphan() RETURNS integer LANGUAGE c AS '$library', 'provconn_rotate_key'");
for my $how ([ 'public', 'CREATE EXTENSION provconn' ], [ 'a schema of its own', 'CREATE SCHEMA apart', 'GRANT USAGE ON SCHEMA apart TO app', 'CREATE EXTENSION provconn SCHEMA apart' ],
	[ 'public again', 'CREATE EXTENSION provconn' ])
{
	my ($name, @create) = @$how;

	$admin->must('DROP EXTENSION provconn CASCADE');
	for my $warm (@warm, $open)
	{
		like($warm->say($_), qr/^(42883 function|42704 type|42P01 relation) .* does not exist/, "without the extension: $_") for qw(connect reveal rows);
		my $error = $warm->session->query('SELECT orphan()')->{error} || {};
		like("$error->{C} $error->{M}", qr/^PV107 provconn\.\w+ does not exist$/, 'without the extension: its library');
	}
	$admin->must($_) for @create, @set_up;
	everybody("the extension in $name");
	$_->keep for @warm, $open;
	goes_on($open, "the extension in $name");
	is($admin->value('SELECT count(*) FROM provconn_keys WHERE connections > 0'), 1, "the extension in $name: a key of its own");
	is_sound("the extension in $name");
	is($admin->value(q(SELECT count(*) FROM pg_class WHERE relnamespace = 'provconn'::regnamespace AND has_table_privilege('app', oid, 'SELECT'))),
		0, "the extension in $name: no table, no month gives what default privileges would");
}
# The functions are gone that those call who wait: the server says so in its own words.
transact('the extension anew, beside commands', { map { $_ => qr/^[0-9A-Z]{5} / } qw(connect reveal) }, @anew);
is($admin->value('SELECT count(*) FROM provconn.connection'), 0, 'the extension anew, beside commands: nothing is left of them');
everybody('the extension anew, beside commands');
is_sound('the end');

done_testing();
