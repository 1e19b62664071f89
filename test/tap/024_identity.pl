# Names, providers and keys that change under live sessions: what each command says,
# writes into the audit and seals with is what holds at that moment.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use ProvconnNode;
use ProvconnWarm;
use PostgreSQL::Test::Utils ();
use Test::More;

my $node  = ProvconnNode::make('main', key => '1:' . ProvconnNode::random_key() . "\n");
my $admin = ProvconnNode::session($node);
my $super = getpwuid($>);
my $provider = ProvconnWarm::PROVIDER;

$admin->must($_)
  for (
	"SELECT provconn_register_provider('acme', 'Acme', 'oauth2', NULL, $provider)",
	q(SELECT provconn_register_provider('bank', 'Bank', 'oauth2')),
	'CREATE ROLE app LOGIN', 'CREATE ROLE hat', 'GRANT hat TO app',
	q(SELECT provconn_grant(r::regrole, c) FROM unnest('{app,hat}'::text[]) AS r, unnest('{application,secrets,worker,auditor}'::text[]) AS c));
my @warm = map { ProvconnWarm->new($node, %$_) } {}, { user => 'app' }, { user => 'app' };
is($_->round, ProvconnWarm::ROUND, 'a round') for @warm;
$_->keep for @warm;
$_->round for (@warm) x 6;

# --- the checker --------------------------------------------------------------

# A round of each session, with what it is to have in the audit where that is new.
sub goes_on
{
	my ($name, $who, @sessions) = @_;

	for my $warm (@sessions ? @sessions : @warm)
	{
		local $warm->{who} = $who // $warm->{who};

		is($warm->round, ProvconnWarm::ROUND, $name);
	}
	return;
}

# A change by the session itself: in a transaction and in a part of one, which are
# rolled back, and, where there is a way back, for good.  changed and unchanged check
# what holds with it and without it.
sub changes_own
{
	my ($warm, $name, $change, $back, $changed, $unchanged) = @_;
	my $session = $warm->session;

	$session->must($_) for 'BEGIN', @$change;
	$changed->("$name, in a transaction", $warm);
	$session->must('ROLLBACK');
	$unchanged->("$name, rolled back", $warm);
	$session->must($_) for 'BEGIN', 'SAVEPOINT a', @$change;
	$changed->("$name, after a savepoint", $warm);
	$session->must('ROLLBACK TO a');
	$unchanged->("$name, rolled back to the savepoint", $warm);
	return $session->must('COMMIT') if !$back;
	$session->must($_) for @$change;
	$changed->("$name, for the rest of the transaction", $warm);
	$session->must('COMMIT');
	$changed->("$name, committed", $warm);
	$session->must($_) for @$back;
	$unchanged->("$name, taken back", $warm);
	return;
}

# A change by another session: nothing of it is seen before it is committed.
sub changes
{
	my ($name, $change, $back, $changed, $unchanged) = @_;

	$admin->must($_) for 'BEGIN', @$change;
	$unchanged->("$name, not committed", $_) for @warm;
	$admin->must('ROLLBACK');
	$unchanged->("$name, rolled back", $_) for @warm;
	# one session is in the middle of a transaction
	$warm[1]->session->must('BEGIN');
	$unchanged->("$name, before it", $warm[1]);
	$admin->must($_) for 'BEGIN', @$change, 'COMMIT';
	$changed->("$name, committed", $_) for @warm;
	$warm[1]->session->must('COMMIT');
	return if !$back;
	$admin->must($_) for @$back;
	$unchanged->("$name, taken back", $_) for @warm;
	return;
}

# Checks for these two.
sub by
{
	my ($who) = @_;

	return sub { my ($name, $warm) = @_; goes_on($name, ref $who ? $who->{ $warm->{who} } : $who, $warm) };
}

# --- names --------------------------------------------------------------------

my ($boss, $app) = @warm;
my $same = by(undef);

for my $case (
	[ $app, 'application_name', ["SET application_name = 'other'"], ['SET application_name = warm'], 'app/app/other' ],
	[ $app, 'no application_name', ["SET application_name = ''"], ['SET application_name = warm'], 'app/app/' ],
	[ $app, 'SET ROLE', ['SET ROLE hat'], ['RESET ROLE'], 'app/hat/warm' ],
	[ $boss, 'SET ROLE of a superuser', ['SET ROLE app'], ['SET ROLE none'], "$super/app/warm" ],
	[ $boss, 'SET SESSION AUTHORIZATION', ['SET SESSION AUTHORIZATION app'], ['RESET SESSION AUTHORIZATION'], 'app/app/warm' ],
	[ $boss, 'both', [ 'SET SESSION AUTHORIZATION app', 'SET ROLE hat' ], ['RESET SESSION AUTHORIZATION'], 'app/hat/warm' ],
	[   $boss, 'a role renamed by the session', [ 'ALTER ROLE hat RENAME TO cap', 'SET ROLE cap' ],
		[ 'RESET ROLE', 'ALTER ROLE cap RENAME TO hat' ], "$super/cap/warm" ])
{
	my ($warm, $name, $change, $back, $who) = @$case;

	changes_own($warm, $name, $change, $back, by($who), $same);
}
changes('a role renamed', ['ALTER ROLE app RENAME TO "the App"'], ['ALTER ROLE "the App" RENAME TO app'],
	by({ 'app/app/warm' => 'the App/the App/warm' }), $same);
changes('two roles that change names', [ map { "ALTER ROLE $_" } 'app RENAME TO other', 'hat RENAME TO app', 'other RENAME TO hat' ],
	[ map { "ALTER ROLE $_" } 'app RENAME TO other', 'hat RENAME TO app', 'other RENAME TO hat' ],
	by({ 'app/app/warm' => 'hat/hat/warm' }), $same);
$_->session->must('SET ROLE hat') for @warm;
changes('a role that was SET, renamed', ['ALTER ROLE hat RENAME TO cap'], ['ALTER ROLE cap RENAME TO hat'],
	by({ "$super/$super/warm" => "$super/cap/warm", 'app/app/warm' => 'app/cap/warm' }),
	by({ "$super/$super/warm" => "$super/hat/warm", 'app/app/warm' => 'app/hat/warm' }));
$_->session->must('RESET ROLE') for @warm;

# From one command to the next in a transaction, and in a function of somebody else's.
$admin->must($_)
  for (
	'GRANT CREATE ON SCHEMA public TO hat',
	q(CREATE FUNCTION lent(u uuid, c uuid) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET application_name = 'lent' AS
		$$BEGIN PERFORM provconn_rename(u, c, 'lent'); END$$),
	'ALTER FUNCTION lent(uuid, uuid) OWNER TO hat');
my $start = $admin->value('SELECT clock_timestamp()');
$app->session->must($_) for 'BEGIN', "SET LOCAL application_name = 'first'";
$app->say('rename');
$app->session->must('SET LOCAL ROLE hat');
$app->say('rename');
$app->session->must($_) for 'RESET ROLE', "SELECT lent('$app->{user}', '$app->{kept}')", "SET LOCAL application_name = 'last'";
$app->say('rename');
$app->session->must('COMMIT');
$app->say('rename');
is($admin->value("SELECT string_agg(concat_ws('/', session_role, caller_role, application_name), ' ' ORDER BY seq) FROM provconn_audit_log
		WHERE connection_id = '$app->{kept}' AND occurred_at > '$start'"),
	'app/app/first app/hat/first app/hat/lent app/app/last app/app/warm', 'names from one command to the next');

# --- providers ----------------------------------------------------------------

sub says
{
	my ($slug, %says) = @_;

	return sub {
		my ($name, $warm) = @_;
		local $warm->{slug} = $slug;

		is($warm->say($_), $says{$_}, "$name: $_") for sort keys %says;
	};
}

sub under
{
	my ($slug) = @_;

	return sub { my ($name, $warm) = @_; local $warm->{slug} = $slug; goes_on($name, undef, $warm) };
}

sub both { my @checks = @_; return sub { $_->(@_) for @checks }; }

for my $case (
	[ 'a name', "UPDATE provconn.provider SET name = 'Another' WHERE slug = 'acme'", "UPDATE provconn.provider SET name = 'Acme' WHERE slug = 'acme'", $same ],
	[   'closed', "SELECT provconn_set_provider_active($provider, false)", "SELECT provconn_set_provider_active($provider, true)",
		says('acme', initiate => 'f provider_inactive', connect => 'f provider_inactive', rename => 't active 1')
	],
	[   'closed by SQL', "UPDATE provconn.provider SET is_active = false WHERE slug = 'acme'", "UPDATE provconn.provider SET is_active = true WHERE slug = 'acme'",
		says('acme', connect => 'f provider_inactive')
	],
	[   'a slug', "UPDATE provconn.provider SET slug = 'acme-2' WHERE slug = 'acme'", "UPDATE provconn.provider SET slug = 'acme' WHERE slug = 'acme-2'",
		both(under('acme-2'), says('acme', initiate => 'f invalid_provider_slug', connect => 'f invalid_provider_slug'))
	],
	[   'slugs that change places',
		map({ join('; ', map { "UPDATE provconn.provider SET slug = '$$_[1]' WHERE slug = '$$_[0]'" } @$_) }
			[ [qw(acme x)], [qw(bank acme)], [qw(x bank)] ], [ [qw(acme x)], [qw(bank acme)], [qw(x bank)] ]),
		both(under('bank'), says('acme', connect => 'f invalid_provider_slug'))
	])
{
	my ($name, $change, $back, $changed) = @$case;

	changes("provider: $name", [$change], [$back], $changed, $same);
	changes_own($boss, "provider: $name", [$change], [$back], $changed, $same);
}

# --- keys ---------------------------------------------------------------------

$admin->must(q(CREATE FUNCTION key_of(c uuid) RETURNS integer LANGUAGE sql SECURITY DEFINER AS
	$$SELECT ('x' || encode(substring(credential, 2, 4), 'hex'))::bit(32)::integer FROM provconn.connection WHERE connection_id = c$$));

# What a new credential is sealed with; what was sealed before still opens.
sub seals_with
{
	my ($key) = @_;

	return sub {
		my ($name, $warm) = @_;
		my $id = $warm->must('connect', $warm->{user}, $warm->{slug}, 'sealed', '1 day')->[1];

		is($warm->session->value("SELECT key_of('$id')"), $key, "$name: key $key");
		is($warm->must('reveal', $warm->{user}, $id, 'why')->[0], 't 1 sealed', "$name: which opens it");
		like($warm->say('reveal'), qr/^t \d+ kept$/, "$name: and what was there opens");
		return;
	};
}

# Rotation waits for nobody, nor do those who seal wait for it.
my $key = $admin->value(q(SELECT key_id FROM provconn_keys WHERE state = 'current'));
changes_own($boss, 'a rotation', ['SELECT provconn_rotate_key()'], undef, seals_with($key + 1), seals_with($key));
changes('a rotation', ['SELECT provconn_rotate_key()'], undef, seals_with($key + 1), seals_with($key));
$admin->must('CALL provconn_reencrypt()');
seals_with($key + 1)->('re-encrypted', $_) for @warm;
$admin->must("SELECT provconn_retire_key($key)");
seals_with($key + 1)->('the old key retired', $_) for @warm;

sub reload
{
	my (@lines) = @_;
	my $now = $admin->value('SELECT clock_timestamp()');

	ProvconnNode::write_key(ProvconnNode::key_file($node), join('', map { "$_\n" } @lines));
	$node->reload;
	ok(ProvconnNode::wait_until(sub { !grep { $_->value("SELECT pg_conf_load_time() <= '$now'") eq 't' } $admin, map { $_->session } @warm }, 30), 'all have reloaded');
	return;
}

chomp(my $first = PostgreSQL::Test::Utils::slurp_file(ProvconnNode::key_file($node)));
my $second = '2:' . ProvconnNode::random_key();
for my $case (
	[ 'another master key', [ $first, $second ] ],
	[ 'rewrapped', [ $first, $second ], 'SELECT provconn_rewrap_keys()' ],
	[ 'the first master key gone', [$second] ],
	[ 'a wrong master key', [ '2:' . ProvconnNode::random_key() ], undef, 'PV102 master key 2 is not the one that wrapped data key ' . ($key + 1) ],
	[ 'no such master key', [$first], undef, 'PV102 there is no master key 2, which data key ' . ($key + 1) . ' needs' ],
	[ 'the right one again', [$second] ])
{
	my ($name, $lines, $sql, $error) = @$case;

	reload(@$lines);
	$admin->must($sql) if $sql;
	for my $warm (@warm)
	{
		if ($error) { is($warm->say($_), $error, "$name: $_") for qw(connect reveal); }
		else        { seals_with($key + 1)->($name, $warm); }
	}
}
goes_on('all those keys');

# --- commands within commands ---------------------------------------------------

# A command that a trigger of somebody's runs while another one writes.
$_->{other} = $_->must('connect', $_->{user}, 'acme', 'other', '1 day')->[1] for @warm;
$admin->must($_)
  for (
	'CREATE TABLE other (pid integer PRIMARY KEY, user_id uuid, connection_id uuid)',
	map({ sprintf(q(INSERT INTO other VALUES (%d, '%s', '%s')), $_->session->pid, $_->{user}, $_->{other}) } @warm),
	"GRANT ALL ON other TO app",
	q(CREATE FUNCTION nested() RETURNS trigger LANGUAGE plpgsql AS $$
		DECLARE o public.other; seen text;
		BEGIN
			SELECT * INTO o FROM public.other WHERE pid = pg_backend_pid();
			IF FOUND AND pg_trigger_depth() = TG_ARGV[0]::integer THEN
				SELECT secret_text::json ->> 'access_token' INTO seen FROM public.provconn_reveal(o.user_id, o.connection_id, 'nested');
				PERFORM public.provconn_rename(o.user_id, o.connection_id, 'nested');
				PERFORM public.provconn_refresh(public.provconn_refresh_command(o.connection_id, public.provconn_oauth2_credentials(seen || '+')));
				PERFORM public.provconn_connect(public.provconn_connect_command(o.user_id, (SELECT provider_id FROM public.provconn_providers WHERE slug = 'acme'), 'acme', public.provconn_oauth2_credentials('new')));
				BEGIN
					PERFORM public.provconn_mark_expired(o.connection_id, 'undone');
					RAISE 'no';
				EXCEPTION WHEN raise_exception THEN NULL;
				END;
			END IF;
			RETURN NEW;
		END$$));
my $month = $admin->value(q(SELECT 'provconn.audit_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')));
my $tokens = 'other';
for my $case ([ 'BEFORE UPDATE', 'provconn.connection', 1 ], [ 'AFTER UPDATE', 'provconn.connection', 1 ], [ 'BEFORE INSERT', $month, 2 ], [ 'AFTER INSERT', $month, 2 ])
{
	my ($event, $table, $depth) = @$case;

	$admin->must("CREATE TRIGGER a_nested $event ON $table FOR EACH ROW EXECUTE FUNCTION nested($depth)");
	$tokens .= '+';
	for my $warm (@warm)
	{
		my $before = $warm->must('rows')->[0];

		is($warm->say('rename'), 't active 1', "$event on $table: a command");
		is($warm->must('rows')->[0] - $before, 5, "$event on $table: and four within it");
		is($warm->must('reveal', $warm->{user}, $warm->{other}, 'why')->[0] =~ s/^t \d+ //r, $tokens, "$event on $table: as they were sent");
	}
	$admin->must("DROP TRIGGER a_nested ON $table");
}

# On the same connection: not while its row is being written, but after that.
$admin->must(q(CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
	IF pg_trigger_depth() = 1 AND NEW.alias = 'kept' THEN
		PERFORM public.provconn_rename(NEW.user_id, NEW.connection_id, 'again');
	END IF;
	RETURN NEW; END$$));
for my $case ([ 'BEFORE', qr/^(27000|55000) /, 0 ], [ 'AFTER', qr/^t active 1$/, 2 ])
{
	my ($when, $says, $rows) = @$case;

	$admin->must("CREATE TRIGGER a_again $when UPDATE ON provconn.connection FOR EACH ROW EXECUTE FUNCTION again()");
	for my $warm (@warm)
	{
		my $before = $warm->must('rows')->[0];

		like($warm->say('rename'), $says, "$when UPDATE: a command on the same connection");
		is($warm->must('rows')->[0] - $before, $rows, "$when UPDATE: its rows");
	}
	$admin->must('DROP TRIGGER a_again ON provconn.connection');
}

goes_on('the end');
is_deeply($admin->must('SELECT problem, detail FROM provconn_verify_audit()')->{rows}, [], 'the audit verifies');
is_deeply($admin->must(q(SELECT check_name, detail FROM provconn_doctor() WHERE status = 'critical'))->{rows}, [], 'the doctor finds nothing');

done_testing();
