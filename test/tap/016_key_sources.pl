# Where master keys come from: a program that is run as the server starts, and a
# file that is read anew after a reload; and how one key takes over from another.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use ProvconnNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $provider = q('00000000-0000-4000-8000-0000000000aa');
my $user     = q('00000000-0000-4000-8000-000000000001');
my $connect  = "SELECT connection_id FROM provconn_connect(provconn_connect_command($user, $provider, 'acme',"
  . " provconn_credentials('%s', 'custom')))";
my %key  = map { $_ => ProvconnNode::random_key() } 1 .. 3;
my $dir  = PostgreSQL::Test::Utils::tempdir();
my $node = ProvconnNode::make('main', key => "1:$key{1}\n");
my $admin = ProvconnNode::session($node);

$admin->must("SELECT provconn_register_provider('acme', 'Acme', 'custom', NULL, $provider)");
my $first = $admin->value(sprintf($connect, 'first'));

sub fault
{
	my ($session, $sql) = @_;
	my $error = $session->query($sql)->{error};

	return $error ? "$error->{C} $error->{M}" : 'none';
}

sub reveal { return "SELECT secret_text FROM provconn_reveal($user, '$_[0]')"; }

# --- a file, and reloads ----------------------------------------------------

my $other = ProvconnNode::session($node);
is($other->value(reveal($first)), 'first', 'another session has the data key');
ProvconnNode::write_key(ProvconnNode::key_file($node), "1:$key{2}\n");
is($other->value(reveal($first)), 'first', 'and keeps it while nothing tells it otherwise');
$node->reload;
ok( ProvconnNode::wait_until(
		sub { fault($other, reveal($first)) eq 'PV102 master key 1 is not the one that wrapped data key 1' }),
	'after a reload it reads the file anew, and the wrong key is named');
ProvconnNode::write_key(ProvconnNode::key_file($node), "1:$key{1}\n2:$key{2}\n");
is($other->value(reveal($first)), 'first', 'the right one opens again');

# --- the next master key ----------------------------------------------------

$admin->must('SELECT provconn_rotate_key()');
my $second = $admin->value(sprintf($connect, 'second'));
is($admin->value('SELECT string_agg(key_id || $$ by $$ || master_key_id, $$, $$ ORDER BY key_id) FROM provconn_keys'),
	'1 by 1, 2 by 2', 'a new data key is wrapped by the last master key');
is($admin->value('SELECT provconn_rewrap_keys()'), '1', 'the old one is wrapped anew');
ProvconnNode::write_key(ProvconnNode::key_file($node), "2:$key{2}\n");
$node->reload;
for my $session ($admin, $other, ProvconnNode::session($node))
{
	is($session->value(reveal($first)), 'first', 'the old master key is not needed any more');
	is($session->value(reveal($second)), 'second', 'for neither data key');
}

# --- who sees a new key at once ---------------------------------------------

is($other->value(sprintf($connect, 'x') =~ s/SELECT connection_id/SELECT status/r), 'active', 'sealed with the present key');
$admin->must('SELECT provconn_rotate_key()');
my $third = $other->value(sprintf($connect, 'third'));
is($admin->value("SELECT get_byte(credential, 4) FROM provconn.connection WHERE connection_id = '$third'"),
	'3', 'another session seals with the new key at once');
# a change by direct SQL, triggers disabled, is heard of too
$admin->must('ALTER TABLE provconn.data_key DISABLE TRIGGER provconn_guard');
$admin->must('DELETE FROM provconn.data_key WHERE key_id = 3');
is(fault($other, reveal($third)), 'PV104 the stored credential does not open', 'a key that is gone is not used from memory');
$admin->must('ALTER TABLE provconn.data_key ENABLE ALWAYS TRIGGER provconn_guard');
$_->close for $admin, $other;

# --- a program --------------------------------------------------------------

my $program = ProvconnNode::write_key("$dir/print-keys", "#!/bin/sh\necho ran >>$dir/runs\necho 2:$key{2}\n", 0700);
$node->append_conf('postgresql.conf', "provconn.key_file = ''\nprovconn.key_command = '$program'");
$node->restart;
my $session = ProvconnNode::session($node);
is(fault($session, reveal($first)), 'PV100 the key command was not run', 'not preloaded, the program is not run');
ok(!-e "$dir/runs", 'indeed');
$session->close;

$node->append_conf('postgresql.conf', "shared_preload_libraries = 'provconn'");
$node->restart;
$session = ProvconnNode::session($node);
is($session->value(reveal($first)), 'first', 'preloaded, its key opens what it wrapped as one of a file');
my $fourth = $session->value(sprintf($connect, 'fourth'));
is(ProvconnNode::session($node)->value(reveal($fourth)), 'fourth', 'in every session');
$node->reload;
is(ProvconnNode::session($node)->value(reveal($fourth)), 'fourth', 'after a reload, too');
is(slurp_file("$dir/runs"), "ran\n", 'it ran once');
is(fault($session, "SET provconn.key_command = 'x'"),
	'55P02 parameter "provconn.key_command" cannot be changed without restarting the server', 'it is the server\'s setting');
$session->must('CREATE ROLE plain LOGIN');
is(fault(ProvconnNode::session($node, user => 'plain'), 'SHOW provconn.key_command') =~ /^42501/ ? 'hidden' : 'shown',
	'hidden', 'and nobody else\'s to see');
# a crash of a session: the program is not run again, the keys are there
$node->safe_psql('postgres', 'ALTER SYSTEM SET restart_after_crash = on; SELECT pg_reload_conf()');
kill 'KILL', $session->pid;
ok( ProvconnNode::wait_until(sub { eval { ProvconnNode::session($node)->value(reveal($fourth)) } }),
	'the keys outlive the crash of a session');
is(slurp_file("$dir/runs"), "ran\n", 'without running the program again');
# a file, where one is set, comes first
ProvconnNode::write_key(ProvconnNode::key_file($node), "2:$key{3}\n");
$session = ProvconnNode::session($node);
$session->must("SET provconn.key_file = '" . ProvconnNode::key_file($node) . "'");
is(fault($session, reveal($first)), 'PV102 master key 2 is not the one that wrapped data key 2', 'a file, where one is set, comes first');
$session->close;
is(grep({ index(slurp_file($node->logfile), $_) >= 0 } values %key), 0, 'no key is in the log');

# Programs that are no good keep the server from starting.
sub is_refused
{
	my ($script, $message, $name) = @_;

	ProvconnNode::write_key($program, "#!/bin/sh\n$script\n", 0700);
	$node->stop('fast');
	my $size = ProvconnNode::log_size($node);
	ok(!$node->start(fail_ok => 1), "$name: the server does not start");
	my ($said) = ProvconnNode::log_since($node, $size) =~ /FATAL:  (.*)/;
	is($said, $message, "$name: it says why");
	my $secrets = join('|', $key{2}, quotemeta $program);
	unlike(ProvconnNode::log_since($node, $size), qr/$secrets/, "$name: and neither key nor program");
	ProvconnNode::write_key($program, "#!/bin/sh\necho 2:$key{2}\n", 0700);
	$node->start;
	return;
}

is_refused("echo 2:$key{2}; exit 3", 'the key command failed: child process exited with exit code 3', 'an exit code');
is_refused('exit 0', 'the key command\'s output is malformed: it holds no key', 'no output');
is_refused("echo 2:$key{2}; echo 3:abc", 'the key command\'s output is malformed in line 2: the key is not exactly 64 hexadecimal digits', 'a bad line');
is_refused('yes | head -c 70000', 'the key command failed: it printed 64 kB or more', 'too much');
is_refused('kill -9 $$', 'the key command failed: child process exited with exit code 137', 'a signal');
is(ProvconnNode::session($node)->value(reveal($fourth)), 'fourth', 'and with a good one it starts again');

done_testing();
