# What stays in a backend's memory: after each function that takes or returns a
# secret, the backend's memory is searched for the secret, the master key, the data
# key and the keys derived from them: those that seal credentials (K_enc, K_mac, and
# half of K_enc, as it stands in a key schedule), which are kept beside the data key,
# and those that seal the data key.  So it is for the keystream that a credential was
# sealed or opened with, which is the secret to who has the stored bytes; that of the
# next credential, made ahead, shows that the search would find it.
#
# Freed memory counts, as an attacker or a core dump has it, too.  The buffers of the
# protocol are flushed before, by a statement and a result that are longer than
# they; how much was there before is told, but not tested.  The search is done by
# test/tap/memscan/memscan.c, which is compiled here; with PROVCONN_TEST_PLACES set
# the places are told, too.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use Digest::SHA qw(hmac_sha256);
use Math::BigInt;
use ProvconnNode;
use PostgreSQL::Test::Utils;
use Test::More;

# How many copies there may be: of the secret's start, middle or end, whichever has
# most, by the size of the secret; then of the keys.  What is bound as provconn_secret
# leaves none.  The portal keeps parameters of type text, the scanner literals, and
# executor, tuplestore and output functions what is returned; how much of that is
# overwritten soon depends on the allocator, so that there is some room: of a large
# literal PostgreSQL 18 leaves up to four, also after SELECT length('...').
my %limit = (
	'connect, untyped'        => [ 0, 0 ],
	'connect, binary'         => [ 0, 0 ],
	'connect, literal'        => [ 1, 4 ],
	'connect, text'           => [ 3, 3 ],
	'refresh, untyped'        => [ 0, 0 ],
	'refresh, binary'         => [ 0, 0 ],
	'refresh, literal'        => [ 1, 4 ],
	'refresh_batch, untyped'  => [ 0, 0 ],
	'refresh_batch, binary'   => [ 0, 0 ],
	'refresh_batch, literal'  => [ 1, 4 ],
	'reauthenticate, untyped' => [ 0, 0 ],
	'reauthenticate, binary'  => [ 0, 0 ],
	'reauthenticate, literal' => [ 1, 4 ],
	'refresh, carried over'   => [ 0, 0 ],
	'reveal'                  => [ 6, 6 ],
	'claim_due'               => [ 6, 6 ]);
my @keys = (
	[ 'master'     => 0 ],
	[ 'master hex' => 0 ],
	[ 'data key'   => 1 ],
	[ 'K_enc'      => 1 ],
	[ 'K_enc half' => 1 ],
	[ 'K_mac'      => 1 ],
	[ 'wrap K_enc' => 0 ],
	[ 'wrap K_mac' => 0 ],
	[ 'mask key'   => 1 ]);
# The second is longer than the keystream that is made ahead.
my @sizes = (200, 20000);
my %makes_ahead = map { $_ => 1 } qw(connect refresh refresh_batch reauthenticate);

plan skip_all => 'there is no /proc/self/mem' if !-r '/proc/self/mem';

my $master = pack('H*', ProvconnNode::random_key());
my $node = ProvconnNode::make('main', key => unpack('H*', $master) . "\n", conf => "log_statement = none\nautovacuum = off");
my $admin = ProvconnNode::session($node);
my $oid = $admin->value(q(SELECT 'provconn_secret'::regtype::oid));
my $user = q('00000000-0000-4000-8000-000000000001');
my $acme = q('00000000-0000-4000-8000-0000000000aa');

{
	my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
	my $library = PostgreSQL::Test::Utils::tempdir() . '/memscan.so';

	chomp(my $headers = `$pg_config --includedir-server`);
	system('gcc', '-O2', '-fPIC', '-shared', "-I$headers", '-o', $library, "$FindBin::RealBin/memscan/memscan.c") == 0
	  or die "memscan.c was not compiled\n";
	chmod(0755, $library);
	$admin->must($_)
	  for (
		"CREATE FUNCTION memscan(bytea) RETURNS int LANGUAGE c STRICT AS '$library'",
		"CREATE FUNCTION memscan_page(bytea, int) RETURNS bytea LANGUAGE c STRICT AS '$library'",
		"CREATE FUNCTION memscan_places(bytea) RETURNS text LANGUAGE c STRICT AS '$library'",
		"SELECT provconn_register_provider('acme', 'Acme', 'oauth2', NULL, $acme)");
}

# --- the search finds what is there -----------------------------------------

{
	my $session = ProvconnNode::session($node);
	my $text = random_text(200);

	is(count($session, $text), 0, 'control: a text that was never there');
	$session->bound(q(SELECT set_config('test.kept', $1, false)), [ 25, 0, $text ]);
	flush($session);
	cmp_ok(count($session, substr($text, 0, 24)), '>=', 1, 'control: a setting of the session');
	cmp_ok(count($session, substr($text, -24)), '>=', 1, 'control: its end');
	is(count(ProvconnNode::session($node), substr($text, -24)), 0, 'control: not in another session');
	$session->close;
}

# --- functions ---------------------------------------------------------------

my %bind = (
	untyped => sub { [ 0,    0, $_[0] ] },
	binary  => sub { [ $oid, 1, $_[0] ] },
	text    => sub { [ 25,   0, $_[0] ] });
my %command = (
	connect        => sub { "provconn_connect(provconn_connect_command($user, $acme, 'acme', provconn_oauth2_credentials(%s, 'r')))" },
	refresh        => sub { "provconn_refresh(provconn_refresh_command('$_[0]', provconn_oauth2_credentials(%s, 'r')))" },
	refresh_batch  => sub { "provconn_refresh_batch(ARRAY[provconn_refresh_command('$_[0]', provconn_oauth2_credentials(%s, 'r'))])" },
	reauthenticate => sub { "provconn_reauthenticate($user, '$_[0]', provconn_oauth2_credentials(%s, 'r'))" });
my @table;

for my $command (qw(connect refresh refresh_batch reauthenticate))
{
	for my $way (qw(untyped binary literal text))
	{
		next if $way eq 'text' && $command ne 'connect';
		for my $size (@sizes)
		{
			my $connection = connect_one('first');
			my $secret = random_text($size);
			my $session = ProvconnNode::session($node);
			my $sql = "SELECT connection_id FROM " . $command{$command}->($connection);

			$admin->must("SELECT FROM provconn_mark_expired('$connection')") if $command eq 'reauthenticate';
			my $result = $way eq 'literal'
			  ? $session->query($sql =~ s/%s/'$secret'/r)
			  : $session->bound($sql =~ s/%s/\$1/r, $bind{$way}->($secret));
			$connection = $result->{rows}[0][0] or die "$command, $way: $result->{error}{M}\n";
			examine("$command, $way", $size, $session, $secret, $connection);
		}
	}
}
for my $size (@sizes)
{
	my $secret = random_text($size);
	my $connection = connect_one('first', $secret);
	my $session = ProvconnNode::session($node);

	$session->must("SELECT FROM provconn_refresh(provconn_refresh_command('$connection', provconn_token_response('{\"access_token\": \"second\"}')))");
	is($admin->value("SELECT secret_text::json ->> 'refresh_token' FROM provconn_reveal($user, '$connection')"),
		$secret, 'the refresh token is carried over');
	examine('refresh, carried over', $size, $session, $secret, $connection);
}
for my $function (qw(reveal claim_due))
{
	for my $size (@sizes)
	{
		my $secret = random_text($size);
		my $connection = connect_one($secret, 'r', $function eq 'claim_due' ? '2000-01-01' : 'infinity');
		my $session = ProvconnNode::session($node);
		my $result = $session->query($function eq 'reveal'
			? "SELECT secret_text FROM provconn_reveal($user, '$connection')"
			: q(SELECT secret_text FROM provconn_claim_due('w')));

		like($result->{rows}[0][0], qr/$secret/, "$function gives the secret");
		is(scalar @{ $result->{rows} }, 1, 'and no other');
		examine($function, $size, $session, $secret, $connection);
	}
}

my $format = '%-24s %6s %7s  %-11s %-11s' . ' %10s' x @keys;
diag(join("\n", sprintf($format, 'copies after', 'size', 'at once', 'the secret', 'keystream', map { $_->[0] } @keys), map { sprintf($format, @$_) } @table));
done_testing();

# What is left in the session, which is closed.
sub examine
{
	my ($what, $size, $session, $secret, $connection) = @_;
	my %key = keys_of($connection);
	my @limits = @{ $limit{$what} || die "no limit for $what\n" };
	my ($limit) = map { $limits[$_] } grep { $sizes[$_] == $size } 0 .. $#sizes;
	my @needles = map { substr($secret, $_, 24) } 0, $size / 2 - 12, $size - 24;

	my $at_once = count($session, $needles[1]);
	flush($session);
	my @copies = map { count($session, $_) } @needles;
	my ($used, $next) = keystream_of($connection, $key{'K_enc'});
	my @of_used = map { count($session, substr($used, $_, 24)) } 0, length($used) / 2 - 12, length($used) - 24;
	my $of_next = count($session, $next);
	my ($most) = sort { $b <=> $a } @copies;
	# the mask key comes last: to learn it overwrites what is left of another key
	my @of_keys = map { count($session, $key{ $_->[0] } //= mask_key($session)) } @keys;

	cmp_ok($most, '<=', $limit, "$what, $size bytes: copies of the secret");
	is("@of_used", '0 0 0', "$what, $size bytes: copies of the keystream that was used");
	is($of_next, $size == $sizes[0] && $makes_ahead{ $what =~ s/,.*//r } ? 1 : 0, "$what, $size bytes: copies of what comes next");
	cmp_ok($of_keys[$_], '<=', $keys[$_][1], "$what, $size bytes: copies of $keys[$_][0]") for 0 .. $#keys;
	push @table, [ $what, $size, $at_once, (map { join(' ', map { sprintf('%3d', $_) } @$_) } \@copies, [ @of_used ]), @of_keys ];
	if ($ENV{PROVCONN_TEST_PLACES})
	{
		note("$what, $size bytes, $_->[0]:\n" . $session->value('SELECT memscan_places($1)', complement($_->[1])))
		  for map({ [ 'secret', $_ ] } $needles[1]), map({ [ $_->[0], $key{ $_->[0] } ] } @keys);
	}
	$session->close;
	return;
}

# The key that masks secrets in this process.  What is stored of a masked secret
# begins with the tag of the process, as does the page that has tag and key.
sub mask_key
{
	my ($session) = @_;

	$session->must('DROP TABLE IF EXISTS masked');
	$session->must('CREATE TABLE masked (s provconn_secret)');
	$session->must(q(INSERT INTO masked VALUES ('x')));
	$session->must('CHECKPOINT');
	my $page = pack('H*', substr($session->value(q(SELECT pg_read_binary_file(pg_relation_filepath('masked')))), 2));
	my $row = substr($page, unpack('v', substr($page, 24, 2)) & 0x7fff);
	my $tag = substr($row, unpack('C', substr($row, 22, 1)) + 1, 8);
	my $key = pack('H*', substr($session->value('SELECT memscan_page($1, 32)', complement($tag)), 2)) ^ "\xff" x 32;

	die "there is no page with the tag of this process\n" if $key eq "\xff" x 32;
	return $key;
}

# Overwrites what is left in the buffers of the protocol.
sub flush
{
	my ($session) = @_;

	for (1 .. 2)
	{
		$session->must("SELECT repeat('x', 40000), length('" . 'y' x 40000 . "')");
		$session->bound('SELECT repeat($1, 40000), length($2)', [ 25, 0, 'x' ], [ 25, 0, 'y' x 40000 ]);
	}
	return;
}

sub count
{
	my ($session, $bytes) = @_;

	return $session->value('SELECT memscan($1)', complement($bytes));
}

sub complement
{
	my ($bytes) = @_;

	return [ 17, 1, $bytes ^ "\xff" x length($bytes) ];
}

# Letters and digits, so that they need no quotes anywhere.
sub random_text
{
	my ($size) = @_;
	my $text = '';

	$text .= ProvconnNode::random_key() while length($text) < $size;
	return substr($text, 0, $size);
}

sub connect_one
{
	my ($access, $refresh, $expires) = @_;

	return $admin->value(
		"SELECT connection_id FROM provconn_connect(provconn_connect_command($user, $acme, 'acme', provconn_oauth2_credentials(\$1, \$2, \$3)))",
		[ $oid, 1, $access ], [ $oid, 1, $refresh // 'r' ], [ 0, 0, $expires // 'infinity' ]);
}

# The keystream that a credential was sealed with, and the two blocks that come after.
sub keystream_of
{
	my ($connection, $key) = @_;
	my $sealed = pack('H*', $admin->value("SELECT encode(credential, 'hex') FROM provconn.connection WHERE connection_id = '$connection'"));
	my $len = length($sealed) - 37;
	my $keystream = keystream($key, substr($sealed, 5, 16), int(($len + 15) / 16) + 2);

	return (substr($keystream, 0, $len), substr($keystream, -32));
}

# AES-256 in counter mode from a counter block on, so many blocks.
sub keystream
{
	my ($key, $start, $blocks) = @_;
	my $counter = Math::BigInt->from_hex(unpack('H*', $start));
	my $counters = join('', map { substr('0' x 32 . $counter->copy->badd($_)->to_hex, -32) } 0 .. $blocks - 1);

	return pack('H*', substr($admin->value(q(SELECT encrypt($1, $2, 'aes-ecb/pad:none')), map { [ 17, 1, $_ ] } pack('H*', $counters), $key), 2));
}

# The keys that a credential was sealed with, by the construction in doc/security.md.
sub keys_of
{
	my ($connection) = @_;
	my $wrapped = pack('H*', $admin->value("SELECT encode(d.wrapped, 'hex') FROM provconn.connection AS c"
			  . " JOIN provconn.data_key AS d ON int4send(d.key_id) = substr(c.credential, 2, 4) WHERE c.connection_id = '$connection'"));
	my ($wrap_encrypt, $wrap_mac) = derive($master, 'provconn.data_key');
	my $data_key = substr($wrapped, 21, -16) ^ keystream($wrap_encrypt, substr($wrapped, 5, 16), 2);
	die "the data key has not 32 bytes\n" if length($data_key) != 32;
	my ($encrypt, $mac) = derive($data_key, 'provconn.credential');

	return (
		'master'     => $master,
		'master hex' => unpack('H*', $master),
		'data key'   => $data_key,
		'K_enc'      => $encrypt,
		'K_enc half' => substr($encrypt, 0, 16),
		'K_mac'      => $mac,
		'wrap K_enc' => $wrap_encrypt,
		'wrap K_mac' => $wrap_mac);
}

sub derive
{
	my ($key, $info) = @_;
	my $extracted = hmac_sha256($key, "\0" x 32);
	my $first = hmac_sha256("$info\x01", $extracted);

	return ($first, hmac_sha256("$first$info\x02", $extracted));
}
