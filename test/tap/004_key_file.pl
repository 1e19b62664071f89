# The key file: which ones are taken, what is said of those that are not, which
# key is used, and who may say where it is.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use ProvconnNode;
use PostgreSQL::Test::Utils ();
use POSIX qw(mkfifo);
use Test::More;

my $node = ProvconnNode::make('main', extension => 0);
my $admin = ProvconnNode::session($node);
my $provider = q('00000000-0000-4000-8000-0000000000aa');
my $user = q('00000000-0000-4000-8000-000000000001');
my $connect = "SELECT ok FROM provconn_connect(provconn_connect_command($user, $provider, 'acme',"
  . " provconn_credentials('%s', 'custom')))";
my $databases = 0;

# Every file is in a place whose name must turn up nowhere.
my $place = 'TELLNOBODY' . int(rand(1000000));
my $dir = PostgreSQL::Test::Utils::tempdir() . "/$place";
mkdir $dir or die "$dir: $!";
my $said = '';

# A database of its own has no data key yet.
sub fresh_database
{
	my $name = 'fresh' . ++$databases;

	$admin->must("CREATE DATABASE $name");
	my $session = ProvconnNode::session($node, dbname => $name);
	$session->must('CREATE EXTENSION provconn CASCADE');
	$session->must("INSERT INTO provconn.provider (provider_id, slug, name, credential_type)"
		  . " VALUES ($provider, 'acme', 'Acme', 'custom')");
	$session->close;
	return $name;
}

# Connects in that database with the key file given, in a session that keeps its
# statements out of the log: they are the DBA's to hide, not provconn's.
sub attempt
{
	my ($database, $path, $sql) = @_;
	my $session = ProvconnNode::session($node, dbname => $database);

	$session->must(q(SET log_statement = 'none'; SET log_min_error_statement = 'panic'));
	$session->must("SET provconn.key_file = '$path'");
	my $result = $session->query($sql || sprintf($connect, 'secret'));
	$said .= $session->said;
	$session->close;
	return $result;
}

sub is_taken
{
	my ($database, $path, $name) = @_;
	my $result = attempt($database, $path);

	is($result->{error} ? $result->{error}{M} : $result->{rows}[0][0], 't', $name);
	return;
}

sub is_refused
{
	my ($database, $path, $sqlstate, $message, $hint, $name) = @_;
	my $error = attempt($database, $path)->{error} || {};

	is($error->{C}, $sqlstate, "$name: SQLSTATE");
	is($error->{M}, $message, "$name: message");
	is($error->{H}, $hint, "$name: hint");
	is($error->{D}, undef, "$name: no detail");
	return;
}

my $unsafe = q(The key file must be a regular file with mode 0600 or less, owned by the server's user.);
my $check = q(Check that provconn.key_file names a file which the server's user can read.);
my $lines = q(Each line is "id:" and 64 hexadecimal digits; the last line is the current key.);
my $key = ProvconnNode::random_key();
my $good = ProvconnNode::write_key("$dir/good", "$key\n");
my $database = fresh_database();

# The file.

is_taken($database, $good, 'mode 0600');
is_taken($database, ProvconnNode::write_key("$dir/readonly", "$key\n", 0400), 'mode 0400');
for my $mode (0640, 0604, 0644, 0700, 0610, 04600)
{
	is_refused($database, ProvconnNode::write_key("$dir/mode", "$key\n", $mode),
		'PV101', 'key file is not safe: mode wider than 0600', $unsafe, sprintf('mode %04o', $mode));
}
is_refused($database, "$dir/absent", 'PV101', 'could not read the key file: No such file or directory',
	$check, 'no file');
is_refused($database, ProvconnNode::write_key("$dir/unreadable", "$key\n", 0),
	'PV101', 'could not read the key file: Permission denied', $check, 'mode 0000');
mkdir "$dir/directory", 0700 or die;
is_refused($database, "$dir/directory", 'PV101', 'key file is not safe: not a regular file', $unsafe, 'a directory');
mkfifo("$dir/fifo", 0600) or die;
is_refused($database, "$dir/fifo", 'PV101', 'key file is not safe: not a regular file', $unsafe,
	'a FIFO, without waiting for a writer');
is_refused($database, '/dev/null', 'PV101', 'key file is not safe: not a regular file', $unsafe, 'a device');

symlink $good, "$dir/link" or die;
is_taken($database, "$dir/link", 'a symbolic link to a good file');
symlink "$dir/mode", "$dir/badlink" or die;
is_refused($database, "$dir/badlink", 'PV101', 'key file is not safe: mode wider than 0600', $unsafe,
	'a symbolic link to a bad one');
symlink "$dir/absent", "$dir/deadlink" or die;
is_refused($database, "$dir/deadlink", 'PV101', 'could not read the key file: No such file or directory',
	$check, 'a symbolic link to nowhere');

is_refused($database, '/etc/passwd', 'PV101', 'key file is not safe: owned by another user', $unsafe,
	q(another user's file));

my $session = ProvconnNode::session($node, dbname => $database);
$session->must('SELECT provconn_state_diagram()');
my $error = $session->query(q(SET provconn.key_file = 'relative/key'))->{error};
is($error->{C}, '22023', 'a relative path is no value');
is($error->{D}, 'The path must be absolute.', 'and the error says why');
$session->close;

# Its lines.

for my $case (
	[ 'a short key', substr($key, 1) . "\n", 'key file is malformed in line 1: the key is not exactly 64 hexadecimal digits' ],
	[ 'a long key', "${key}0\n", 'key file is malformed in line 1: the key is not exactly 64 hexadecimal digits' ],
	[ 'no hexadecimal digit', 'g' . substr($key, 1), 'key file is malformed in line 1: the key is not exactly 64 hexadecimal digits' ],
	[ 'two keys in a line', "$key $key\n", 'key file is malformed in line 1: the key is not exactly 64 hexadecimal digits' ],
	[ 'key id 0', "# a comment\n0:$key\n", 'key file is malformed in line 2: the key id is not a whole number from 1 to 2147483647' ],
	[ 'a word for an id', "first:$key\n", 'key file is malformed in line 1: the key id is not a whole number from 1 to 2147483647' ],
	[ 'an id twice', "1:$key\n2:$key\n1:$key\n", 'key file is malformed in line 3: the key id stands in an earlier line already' ],
	[ 'bare lines', "$key\n$key\n", 'key file is malformed in line 2: the key id stands in an earlier line already' ])
{
	my ($name, $text, $message) = @$case;

	is_refused($database, ProvconnNode::write_key("$dir/malformed", $text), 'PV101', $message, $lines, $name);
}
for my $text ('', "# nothing\n\n")
{
	$error = attempt($database, ProvconnNode::write_key("$dir/malformed", $text))->{error};
	is("$error->{C} $error->{H}", "PV101 $lines", 'an empty file');
	like($error->{M}, qr/^key file .*it holds no key$/, 'an empty file: message');
	unlike($error->{M}, qr/line 0/, 'which names no line that there is not');
}
is_refused($database, ProvconnNode::write_key("$dir/malformed", "1:$key\n" . "# comment\n" x 6600), 'PV101',
	'key file is not safe: 64 kB or larger', $unsafe, 'a large file');
is_taken($database, ProvconnNode::write_key("$dir/crlf", "# of 2026\r\n\r\n  1:$key  \r\n"), 'blanks, comments, CR LF');
is_taken($database, ProvconnNode::write_key("$dir/upper", '1:' . uc($key)), 'capital digits, no newline at the end');

# Which key: the last line's is current, the others are found by their id.

my ($one, $two, $three) = map { ProvconnNode::random_key() } (1 .. 3);
my $keys = 'SELECT string_agg(key_id || $$ by $$ || master_key_id, $$, $$ ORDER BY key_id) FROM provconn.data_key';
my $reveal = 'SELECT string_agg(coalesce(r.secret_text, r.error_code), $$ $$ ORDER BY r.secret_text)'
  . ' FROM provconn_connections AS c, provconn_reveal(c.user_id, c.connection_id) AS r';

sub reveals
{
	my ($text) = @_;
	my $result = attempt($database, ProvconnNode::write_key("$dir/keys", $text), $reveal);

	return $result->{error} ? "$result->{error}{C} $result->{error}{M}" : $result->{rows}[0][0];
}

$database = fresh_database();
is_taken($database, ProvconnNode::write_key("$dir/keys", "$one\n"), 'a bare line');
is(attempt($database, $good, $keys)->{rows}[0][0], '1 by 1', 'is key 1');

$database = fresh_database();
is_taken($database, ProvconnNode::write_key("$dir/keys", "1:$one\n2:$two\n"), 'two keys');
is(attempt($database, $good, $keys)->{rows}[0][0], '1 by 2', 'the last one is current');
is(reveals("2:$two\n1:$one\n"), 'secret', 'in another order the old data key still opens');
is(reveals("2:$two\n"), 'secret', 'its own master key is enough');
is(reveals("7:$three\n2:$two\n8:$one\n"), 'secret', 'it is found by its id among others');
is(reveals("1:$one\n"), 'PV102 there is no master key 2, which data key 1 needs',
	'without it the error names both');
is(reveals("1:$two\n"), 'PV102 there is no master key 2, which data key 1 needs',
	'the same digits under another id are another key');
is(reveals("2:$one\n"), 'PV102 master key 2 is not the one that wrapped data key 1',
	'other digits under its id are named as wrong');
is(attempt($database, ProvconnNode::write_key("$dir/keys", "2:$one\n"), $reveal)->{error}{H},
	q(Restore the key file, or the key command's output, that belongs to this database.), 'with a hint');
is(attempt($database, ProvconnNode::write_key("$dir/keys", "1:$one\n"), $reveal)->{error}{H},
	'Put the line of that key back into the key file, or what the key command prints.', 'with a hint');
is_taken($database, ProvconnNode::write_key("$dir/keys", "2:$two\n3:$three\n"), 'with a newer master key');
is(attempt($database, $good, $keys)->{rows}[0][0], '1 by 2', 'the data key stays as it was wrapped');

# A session that has a data key notices another file.
my $turncoat = ProvconnNode::session($node, dbname => $database);
$turncoat->must(q(SET log_statement = 'none'; SET log_min_error_statement = 'panic'));
$turncoat->must("SET provconn.key_file = '$dir/keys'");
is($turncoat->value($reveal), 'secret secret', 'a session has its keys');
$turncoat->must("SET provconn.key_file = '" . ProvconnNode::write_key("$dir/wrong", "2:$three\n") . q('));
is($turncoat->query($reveal)->{error}{C}, 'PV102', 'and forgets them when the setting changes');
$said .= $turncoat->said;
$turncoat->close;

# Rows of provconn.data_key that were changed, past the trigger that forbids it.
my %damage = (
	'a wrapped key changed' => 'wrapped = set_byte(wrapped, 60, get_byte(wrapped, 60) # 1)',
	'a wrapped key cut short' => 'wrapped = substr(wrapped, 1, 50)',
	'a check value changed' => 'check_value = set_byte(check_value, 0, get_byte(check_value, 0) # 1)');
for my $name (sort keys %damage)
{
	my $changed = ProvconnNode::session($node, dbname => $database);

	$changed->must('CREATE TABLE kept AS TABLE provconn.data_key; ALTER TABLE provconn.data_key DISABLE TRIGGER ALL');
	$changed->must("UPDATE provconn.data_key SET $damage{$name}");
	is(reveals("2:$two\n"), 'PV103 data key 1 does not open', $name);
	$changed->must('UPDATE provconn.data_key AS d SET wrapped = k.wrapped, check_value = k.check_value FROM kept AS k; DROP TABLE kept');
	$changed->close;
}
my $thief = ProvconnNode::session($node, dbname => $database);
$thief->must('BEGIN; ALTER TABLE provconn.data_key DISABLE TRIGGER ALL; DELETE FROM provconn.data_key');
$error = $thief->query($reveal)->{error};
is("$error->{C} $error->{M}", 'PV104 the stored credential does not open', 'a data key gone');
$thief->close;

# Who may say where it is: the superuser.  Before a session loads the library the
# setting is a placeholder that anybody may set; loading it must not heed that.
# The user's file would be a good one.

my $configured = ProvconnNode::key_file($node);
my $mine = ProvconnNode::write_key("$dir/mine", ProvconnNode::random_key() . "\n");
$admin->must('CREATE ROLE app LOGIN');

my %routes = (
	'SET' => { before => ["SET provconn.key_file = '$mine'"] },
	'set_config' => { before => ["SELECT set_config('provconn.key_file', '$mine', false)"] },
	'SET LOCAL' => { before => [ 'BEGIN', "SET LOCAL provconn.key_file = '$mine'" ] },
	'SET in a savepoint' =>
	  { before => [ 'BEGIN', 'SAVEPOINT s', "SET provconn.key_file = '$mine'", 'RELEASE s' ] },
	'the start-up packet' => { startup => { 'provconn.key_file' => $mine } },
	'PGOPTIONS' => { startup => { options => "-c provconn.key_file=$mine" } });

for my $route (sort keys %routes)
{
	my $how = $routes{$route};
	my $name = fresh_database();
	my $session = ProvconnNode::session($node, dbname => $name);

	$session->must(q(SELECT provconn_grant('app', 'application')));
	$session->close;
	my $attacker = ProvconnNode::session($node, dbname => $name, user => 'app', %{ $how->{startup} || {} });
	$attacker->must($_) for @{ $how->{before} || [] };
	my $result = $attacker->query(sprintf($connect, 'secret'));
	my $outcome = $result->{error} ? $result->{error}{C} : $result->{rows}[0][0];

	# What came with the connection has taken the configured path's place: nothing
	# is done in such a session, not even the library is loaded.
	if ($how->{startup})
	{
		is($result->{error}{M}, 'permission denied to set parameter "provconn.key_file"', "$route: a connect is refused");
		is($outcome, '42501', "$route: by its SQLSTATE, too");
		$attacker->close;
		like(attempt($name, $configured)->{rows}[0][0], qr/^t$/, "$route: the next session has the configured key");
		next;
	}
	# Either the configured key is used, or none.
	like($outcome, qr/^(t|PV100)$/, "$route: a connect gives $outcome");
	is(join('', map { $_->{C} } grep { $_->{S} eq 'WARNING' } @{ $result->{notices} }), '42501',
		"$route: and a warning");
	$attacker->query('COMMIT');
	is($attacker->query("SET provconn.key_file = '$mine'")->{error}{C}, '42501', "$route: nor later");
	is($attacker->query('SHOW provconn.key_file')->{error}{C}, '42501', "$route: nor can it be read");
	is($attacker->value(q(SELECT count(*) FROM pg_settings WHERE name = 'provconn.key_file')), '0',
		"$route: nor seen in pg_settings");
	$attacker->close;

	is(attempt($name, $configured, $reveal)->{rows}[0][0], $outcome eq 't' ? 'secret' : undef,
		"$route: the configured key opens it");
	is(attempt($name, $mine, $reveal)->{error}{C}, $outcome eq 't' ? 'PV102' : undef,
		"$route: the user's does not");
	like(attempt($name, $configured)->{rows}[0][0], qr/^t$/, "$route: the next session has the configured key");
}

# A user cannot leave it to a later session or to somebody else either.
$admin->must($_) for ('CREATE DATABASE owned OWNER app', 'CREATE SCHEMA AUTHORIZATION app');
for my $sql (
	'ALTER ROLE app', 'ALTER DATABASE owned',
	q(CREATE FUNCTION app.attack() RETURNS int LANGUAGE sql AS 'SELECT 1'))
{
	my $session = ProvconnNode::session($node, user => 'app');

	is($session->query("$sql SET provconn.key_file = '$mine'")->{error}{C},
		'42501', "$sql, before the library is loaded");
	$session->close;
}

# While nothing has loaded the library, anybody can read the placeholder: only
# preloading hides the location, which is no secret of provconn's.
my $reader = ProvconnNode::session($node, user => 'app');
is($reader->value('SHOW provconn.key_file'), $configured, 'the placeholder can be read');
$reader->close;
my $library = $admin->value('SHOW server_version_num') >= 180000 ? 'provconn' : '$libdir/provconn';
$admin->must("ALTER ROLE app SET session_preload_libraries = '$library'");
$reader = ProvconnNode::session($node, user => 'app');
is($reader->query('SHOW provconn.key_file')->{error}{C}, '42501', 'with the library preloaded it cannot');
is($reader->query(q(SET provconn.idempotency_retention = '1s'))->{error}{C}, '42501',
	'nor can the other setting be changed');
is($reader->query(q(SET provconn.unknown = '1'))->{error}{C}, '42602', 'nor one be invented');
$reader->close;

# The location is nobody's business.

my $log = ProvconnNode::log_since($node, 0);
my @lines = grep { /$place/ } split(/\n/, $log);
@lines = grep { !/(LOG|STATEMENT):  (statement: )?(SET|ALTER|SELECT set_config|CREATE FUNCTION|BEGIN|SHOW)/ } @lines;
is("@lines", '', 'no log line names the place of the file but statements that others had logged');
unlike($said, qr/$place/, 'nor does anything that a client was told');
cmp_ok(length $said, '>', 3000, 'and clients were told a lot');

done_testing();
