# Proofs of audit rows, checked without the server by test/audit_proof.py, which was
# written from doc/audit.md and not from the sources: rows of every kind, in seals
# of many sizes and in other encodings, hold; and no change of a proof, a digest or
# the seals in between does.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use ProvconnNode;
use ProvconnWorker;
use B ();
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'there is no python3 here' if !eval { IPC::Run::run([ 'python3', '-c', '' ]) };

my $checker = "$FindBin::RealBin/../audit_proof.py";
my $json = JSON::PP->new->latin1->canonical->allow_nonref;    # bytes stay what they are
my $dir = PostgreSQL::Test::Utils::tempdir();
my $files = 0;
my $node = ProvconnWorker::make('main', conf => "provconn.seal_interval = 0\nprovconn.keep_wal = off\nlisten_addresses = '127.0.0.1'");
my $provider = ProvconnWorker::PROVIDER;

# --- the checker --------------------------------------------------------------

sub file
{
	my ($text) = @_;
	my $path = "$dir/" . ++$files . '.json';

	open(my $out, '>:raw', $path) or die "$path: $!";
	print $out $text;
	close($out) or die "$path: $!";
	return $path;
}

# What it says of each list of texts: digest, proof, seals in between.
sub check_all
{
	my $lists = join('', map { join(' ', map { file($_) } @$_) . "\n" } @_);
	my $program = 'import sys; sys.path.insert(0, sys.argv[1]); import audit_proof; '
	  . 'print(*[audit_proof.main(line.split()) for line in sys.stdin])';

	IPC::Run::run([ 'python3', '-B', '-c', $program, "$FindBin::RealBin/.." ], \$lists, \my $out, \my $error);
	is($error, '', 'no traceback');
	my @said = split /\n/, $out;
	my @status = split / /, pop @said // '';

	is(scalar @said, scalar @_, 'an answer to each');
	is_deeply([ map { /^ok: / ? 0 : /^FAILED: ./ ? 1 : $_ } @said ], \@status, 'and a status that fits');
	return @said;
}

sub check
{
	my ($name, $expected, @arguments) = @_;

	IPC::Run::run([ 'python3', '-B', $checker, @arguments ], \undef, \my $out, \my $error);
	is($? >> 8, $expected =~ /ok:/ ? 0 : 1, "$name: status");
	like($out, $expected, $name);
	is($error, '', "$name: no traceback");
}

# --- what happens -------------------------------------------------------------

# A session of a database of that encoding, whose statements are in UTF-8.
sub database
{
	my ($encoding) = @_;
	my $name = lc $encoding;
	my $admin = ProvconnNode::session($node);

	$admin->must("CREATE DATABASE $name ENCODING $encoding TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
	$admin->close;
	my $session = ProvconnNode::session($node, dbname => $name, client_encoding => $encoding eq 'SQL_ASCII' ? $encoding : 'UTF8');

	$session->must('CREATE EXTENSION provconn CASCADE');
	return $session;
}

# Seals, and returns the digest.
sub seal
{
	my ($session, $rows) = @_;
	my $digest = $session->value('SELECT provconn_seal_audit()');

	is($json->decode($digest)->{rows}, $rows, "a seal of $rows rows") if $rows;
	return $digest;
}

# The proofs of the rows of the newest seal, in their order; of many, some.
sub proofs
{
	my ($session) = @_;

	return map { $_->[0] } @{ $session->must(
		'SELECT provconn_audit_proof(audit_id) FROM (SELECT a.audit_id, row_number() OVER (ORDER BY a.audit_id) AS n, count(*) OVER () AS rows'
		  . ' FROM (SELECT * FROM provconn.seal ORDER BY seal_id DESC LIMIT 1) AS s'
		  . ' JOIN provconn.audit AS a ON a.audit_id BETWEEN s.first_id AND s.last_id AND a.occurred_at <= s.sealed_at) AS a'
		  . ' WHERE rows < 20 OR n IN (1, 2, rows / 2, rows - 1, rows) OR n % 64 < 3 ORDER BY audit_id')->{rows} };
}

# All of these hold.
sub hold
{
	my ($name, $digest, @proofs) = @_;
	my @said = check_all(map { [ $digest, $_ ] } @proofs);

	is_deeply([ grep { !/^ok: row \S+ of \S+, '\w+' '\w+', is in seal \d+ of / } @said ], [], "$name: " . scalar(@proofs) . ' proofs hold');
}

sub refuse
{
	my ($session, $count) = @_;

	$session->must("SELECT provconn_reveal(md5('r' || n)::uuid, gen_random_uuid(), 'gr\xc3\xbcndlich ' || n) FROM generate_series(1, $count) AS n");
}

# Rows of every kind; returns the user of a connection.
sub live
{
	my ($session) = @_;
	my @ids = ProvconnWorker::connect_some($session, 3);
	my $user = ProvconnWorker::user(2);
	my $raw = $session->value('SHOW server_encoding') eq 'SQL_ASCII' ? "\xfc\xdf" : "\xc3\xbc\xc3\x9f";

	$session->must($_)
	  for (
		"SELECT provconn_rename($user, '$ids[1]', 'Gr\xc3\xbc\xc3\x9fe')",
		"SELECT provconn_mark_revoked('$ids[1]', 'na${raw}ja')",
		"SELECT provconn_reveal($user, '$ids[0]', 'fremd: \xc2\xbf\xc3\xa9?')",
		"SELECT provconn_reveal(md5('1')::uuid, '$ids[0]', '\"\\/ \t\n\r\b\x7f')",
		"SELECT provconn_reveal(NULL, '$ids[0]', '')",
		"SELECT provconn_initiate($user, $provider, 'M\xc3\xbchle', 'x')",
		"SELECT provconn_initiate($user, $provider, 'acme', 'M\xc3\xbchle')",
		"SELECT provconn_disconnect(provconn_disconnect_command(md5('3')::uuid, '$ids[2]'))");
	return $user;
}

# PostgreSQL makes question marks of what is not ASCII in the name of an application.
my $utf8 = ProvconnNode::session($node, application_name => "\xc3\xbcber alle");
my $user = live($utf8);

$utf8->must($_)
  for (qq(CREATE ROLE "J\xc3\xbcrgen"), map({ qq(SELECT provconn_grant('"J\xc3\xbcrgen"', '$_')) } qw(application secrets)), qq(SET ROLE "J\xc3\xbcrgen"));
refuse($utf8, 1);
$utf8->must($_)
  for ("SELECT provconn_initiate($user, $provider, 'acme', '\xe2\x82\xac \xf0\x9f\x90\x98')", 'RESET ROLE', 'BEGIN');
refuse($utf8, 1);
$utf8->must('ROLLBACK');
ok(ProvconnWorker::settle($utf8), 'what was rolled back is on record');
$node->safe_psql('postgres', "SELECT provconn_initiate(gen_random_uuid(), $provider, 'acme', 'tcp')", connstr => 'dbname=postgres host=127.0.0.1 port=' . $node->port);

my @digests = (seal($utf8));
my @kinds = proofs($utf8);
my $entries = join("\n", map { $json->encode($json->decode($_)->{entry}) } @kinds);

hold('UTF8', $digests[0], @kinds);
ok($entries =~ $_, "among them: $_")
  for (
	qr/"caller_role":"J\S+rgen".*"session_role":"(?!J)/, qr/"attempt_id":"/, qr/"attempt_id":null/, qr/"client_address":"127\.0\.0\.1"/, qr/"client_address":null/,
	qr/"seq":2/, qr/"seq":null/, qr/"user_id":null/, qr/"owner_id":"/, qr/"reason":""/, qr/"outcome":"rolled_back"/, qr/"outcome":"refused"/, qr/"provider_slug":"M\S+hle"/);

# --- sizes --------------------------------------------------------------------

my %of_size;

for my $size (1, 2, 3, 5, 64, 300)
{
	refuse($utf8, $size);
	push @digests, seal($utf8, $size);
	$of_size{$size} = [ proofs($utf8) ];
	hold("$size rows", $digests[-1], @{ $of_size{$size} });
}
is(scalar @{ $of_size{5} }, 5, 'all five of five');
$utf8->must("SELECT provconn_initiate(gen_random_uuid(), $provider, 'acme', 'n' || n) FROM generate_series(1, 333) AS n");
push @digests, seal($utf8, 333);
my @many = proofs($utf8);
hold('with heads', $digests[-1], @many);
is($json->decode($many[0])->{tree_size}, 666, 'a head for each chain');
is_deeply([ map { $json->decode($_)->{leaf_index} } @many[ 0, -1 ] ], [ 0, 332 ], 'first and last leaf');
{
	my $session = ProvconnNode::session($node, timezone => 'Asia/Kathmandu', datestyle => 'German', bytea_output => 'escape', extra_float_digits => '-15');

	is_deeply([ proofs($session) ], \@many, 'settings of the session are in no proof');
	is(seal($session), $digests[-1], 'nor in a digest');
}

# --- other encodings ----------------------------------------------------------

my $stranger;

for my $encoding ('LATIN1', 'SQL_ASCII')
{
	my $session = database($encoding);

	live($session);
	my $digest = seal($session, 11);
	my @proofs = proofs($session);

	$stranger = $proofs[0];
	hold($encoding, $digest, @proofs);
	is(scalar(grep { $encoding eq 'LATIN1' ? /na\xc3\xbc\xc3\x9fja/ : /na\xfc\xdfja/ } @proofs), 1, "$encoding: the text is there");
}

# --- erased -------------------------------------------------------------------

my ($number) = grep { $json->decode($kinds[$_])->{entry}{action} eq 'mark_revoked' } 0 .. $#kinds;
my $whole = $kinds[$number];
my $id = $json->decode($whole)->{entry}{audit_id};

is($utf8->value("SELECT provconn_erase_user($user)"), '3', 'the user is erased');
my $erased = $utf8->value("SELECT provconn_audit_proof('$id')");
is($json->decode($erased)->{entry}{personal}, undef, 'personal values are in the proof no more');
check('erased', qr/\Aok: row $id of [-0-9]+T[:.0-9]+Z, 'mark_revoked' 'succeeded', is in seal 1 of \S+Z, as the digest of seal 1 confirms; its personal values are not in the proof\n\z/, file($digests[0]), file($erased));
check('the proof of before', qr/\Aok: .* are in the proof\n\z/, file($digests[0]), file($whole));

# --- digests of later seals ---------------------------------------------------

my @seals = map { $_->[0] } @{ $utf8->must('SELECT provconn.seal_json(s) FROM provconn.seal AS s ORDER BY seal_id')->{rows} };
my $three = $of_size{3}[1];    # in seal 4
my ($second, $fourth, $seventh) = map { file($digests[ $_ - 1 ]) } (2, 4, 7);

check('a later digest', qr/\Aok: .* is in seal 4 of .* digest of seal 7 confirms/, $seventh, file($three), map { file($_) } @seals[ 4 .. 6 ]);
check('all seals in one file', qr/\Aok: .* digest of seal 7 confirms/, $seventh, file($three), file(join("\n", reverse @seals)));
check('a seal before is not needed', qr/\Aok: .* digest of seal 4 confirms/, $fourth, file($three));
check('no seals', qr/\AFAILED: seal 5 is needed, too\n\z/, $seventh, file($three));
check('a seal is missing', qr/\AFAILED: seal 6 is needed, too\n\z/, $seventh, file($three), map { file($_) } @seals[ 4, 6 ]);
check('an earlier digest', qr/\AFAILED: the digest is of a seal before that of the proof\n\z/, $second, file($three), map { file($_) } @seals);
check('the audit of another database', qr/\AFAILED: the digest has another \w+\n\z/, file($digests[0]), file($stranger));
check('seals of another database', qr/\AFAILED: seal 2 does not follow the one before it\n\z/, $second, file($stranger), file($seals[1]));
check('another seal', qr/\AFAILED: /, $second, file($of_size{2}[0] =~ s/"seal": \{.*?\}/"seal": $seals[1]/r));

# --- what is changed ----------------------------------------------------------

sub is_number
{
	my $flags = B::svref_2object(\$_[0])->FLAGS;

	return $flags & (B::SVp_IOK | B::SVp_NOK) && !($flags & B::SVp_POK);
}

# Other values in the place of one.
sub others
{
	my ($value) = @_;

	return map { [ $_->[0], $json->decode($_->[1]) ] } (
		!defined $value ? ([ '"x"', '"x"' ], [ 'zero', 0 ], [ '"0"', '"0"' ], [ 'a UUID', '"00000000-0000-0000-0000-000000000001"' ])
		: is_number($value) ? ([ '+1', $value + 1 ], [ '-1', $value - 1 ], [ 'negative', -1 - $value ], [ '2^32', $value + 2**32 ],
			[ 'as a string', "\"$value\"" ], [ '.0', "$value.0e0" ], [ 'null', 'null' ], [ 'true', 'true' ])
		: map({ [ $_, $_ eq 'null' ? $_ : $json->encode($_) ] }
			'null', '', "$value\n", " $value", $value =~ s/([0-9a-f])(?=[^0-9a-f]*\z)/$1 eq '0' ? '1' : '0'/er, $value =~ s/([0-9a-f])/$1 eq '1' ? '2' : '1'/er,
			$value =~ /[a-z]/ ? uc $value : "0$value"));
}

# All that can be changed in one place of a document: [what, the document].
sub changes
{
	my ($text) = @_;
	my @changes;
	my $walk;

	# $reach returns the same value in a fresh copy, whose root is $copy.
	my $copy;
	my $change = sub {
		my ($what, $reach, $do) = @_;

		$copy = $json->decode($text);
		$do->($reach->());
		push @changes, [ $what, $json->encode($copy) ];
	};
	$walk = sub {
		my ($value, $name, $reach) = @_;
		my @inside = ref $value eq 'HASH' ? sort keys %$value : 0 .. $#$value;

		for my $key (@inside)
		{
			my $there = ref $value eq 'HASH' ? $value->{$key} : $value->[$key];

			if (ref $there)
			{
				$walk->($there, "$name.$key", sub { my $in = $reach->(); ref $in eq 'HASH' ? $in->{$key} : $in->[$key] });
			}
			else
			{
				for my $other (others($there))
				{
					$change->("$name.$key: $other->[0]", $reach, sub { (ref $_[0] eq 'HASH' ? $_[0]{$key} : $_[0][$key]) = $other->[1] });
				}
			}
			$change->("$name without $key", $reach, sub { ref $_[0] eq 'HASH' ? delete $_[0]{$key} : splice(@{ $_[0] }, $key, 1) });
			$change->("$name: $key twice", $reach, sub { splice(@{ $_[0] }, $key, 0, $_[0][$key]) }) if ref $value eq 'ARRAY';
			$change->("$name: $key and the next", $reach, sub { @{ $_[0] }[ $key, $key + 1 ] = @{ $_[0] }[ $key + 1, $key ] }) if ref $value eq 'ARRAY' && $key < $#$value;
		}
		$change->("$name with another one", $reach, sub { ref $_[0] eq 'HASH' ? $_[0]{other} = undef : push @{ $_[0] }, '0' x 64 });
	};
	my $is_changed = $json->encode($json->decode($text));
	$walk->($json->decode($text), '', sub { $copy });
	return grep { $_->[1] ne $is_changed } @changes;
}

# None of the changes passes, but for those whose name is excepted.
sub none_holds
{
	my ($name, $least, $except, @cases) = @_;
	my @said = check_all(map { [ @$_[ 1 .. $#$_ ] ] } @cases);

	is_deeply([ map { "$cases[$_][0]: $said[$_]" } grep { $said[$_] !~ /^FAILED: / && $cases[$_][0] !~ $except } 0 .. $#cases ], [], "$name: none of " . scalar(@cases) . ' holds');
	cmp_ok(scalar @cases, '>=', $least, "$name: those are many");
}

my $never = qr/(?!)/;

is_deeply([ map { /^ok/ } check_all(map { [ map { $json->encode($json->decode($_)) } @$_ ] } [ $digests[3], $three ], [ $digests[0], $whole ], [ $digests[0], $erased ]) ],
	[ 1, 1, 1 ], 'the same in other words holds');
none_holds('a proof', 300, $never, map { [ $_->[0], $digests[3], $_->[1] ] } changes($three));
none_holds('a row of a chain', 300, $never, map { [ $_->[0], $digests[0], $_->[1] ] } changes($whole));
none_holds('an erased one', 250, $never, map { [ $_->[0], $digests[0], $_->[1] ] } changes($erased));
none_holds('a digest', 40, $never, map { [ $_->[0], $_->[1], $three ] } changes($digests[3]));
# Those of the seals in between, whose keyed authentication only the server can check.
none_holds('seals in between', 150, qr/^\.mac: /,
	map { my $n = $_; map { [ $_->[0], $digests[6], $three, map({ $seals[$_] } grep { $_ != $n } 4 .. 6), $_->[1] ] } changes($seals[$n]) } 4, 5);

# What can be put together of true proofs.
{
	my @one = map { $json->decode($_) } @{ $of_size{5} };
	my @cases;

	for my $other (@kinds[ 0, 1 ], @{ $of_size{5} }[ 0 .. 3 ], $of_size{3}[0], $of_size{64}[4])
	{
		for my $member (qw(entry seal leaf_index audit_path tree_size))
		{
			my $mixed = $json->encode({ %{ $one[4] }, $member => $json->decode($other)->{$member} });

			push @cases, [ "$member of another one", $digests[4], $mixed ] if $mixed ne $json->encode($one[4]);
		}
	}
	# Places outside of the tree from which the path would lead to the root as well.
	push @cases, map { [ "leaf_index $_", $digests[4], $json->encode({ %{ $one[4] }, leaf_index => $_ }) ] } (5 .. 40, -4, -12, 2**40 + 12);
	for my $member (qw(personal personal_hash previous_hash entry_hash))
	{
		push @cases, [ "$member of another row", $digests[4], $json->encode({ %{ $one[4] }, entry => { %{ $one[4]{entry} }, $member => $one[2]{entry}{$member} } }) ]
		  if $member ne 'previous_hash';
	}
	# A head, or an inner node, is no row.
	push @cases, [ 'an inner node', $digests[4], $json->encode({ %{ $one[0] }, entry => { %{ $one[0]{entry} }, entry_hash => $one[4]{audit_path}[0] }, audit_path => [] }) ];
	none_holds('parts of others', 60, $never, @cases);
}

# --- what is no proof ---------------------------------------------------------

my $deep = '[' x 100000;
my @broken = ('', ' ', 'null', 'true', '7', '"x"', '[]', '{}', '{', "$three$three", "$three x", '\x00', "\x00", "\xff\xfe", $deep, '{"a":' x 100000,
	"[$three]", $three =~ s/"tree_size": \d+/"tree_size": NaN/r, $three =~ s/"tree_size": \d+/'"tree_size": 1' . '0' x 5000/er,
	$three =~ s/"tree_size": \d+/"tree_size": 1e400/r, $three =~ s/"leaf_index": \d+/"leaf_index": true/r, $three =~ s/"leaf_index": \d+/"leaf_index": []/r,
	$three =~ s/"seq": null/"seq": 9223372036854775808/r, $three =~ s/"reason": "/"reason": "\\ud800/r, $three =~ s/"reason": "/"reason": "\xff/r,
	$three =~ s/"occurred_at": "\d{4}-\d\d-\d\d/"occurred_at": "2026-02-30/r, $three =~ s/"audit_path": \[/"audit_path": [null, /r,
	$three =~ s/"audit_path": \[.*?\]/"audit_path": "x"/r, $three =~ s/"entry": \{/"entry": [{/r, $three =~ s/"personal": \{.*?\}/"personal": "x"/r,
	$three =~ s/"seal": \{.*?\}/"seal": null/r);

none_holds('no proofs', 20, $never, map { [ substr($_, 0, 40), $digests[3], $_ ] } grep { $_ ne $three } @broken);
none_holds('no digests', 10, $never, map { [ substr($_, 0, 40), $_, $three ] } @broken);
none_holds('no seals', 10, $never, map { [ substr($_, 0, 40), $digests[4], $three, $_ ] } @broken);
check('no file', qr/\AFAILED: .*No such file/, $fourth, "$dir/\xc3\xbc\xff");
check('no arguments', qr/\AFAILED: usage: /);
check('one argument', qr/\AFAILED: usage: /, $fourth);
check('the wrong way round', qr/\AFAILED: /, file($three), $fourth);
{
	local $ENV{PYTHONIOENCODING} = 'ascii';

	check('words that cannot be printed', qr/\AFAILED: [ -~]+\n\z/, $fourth, file($three =~ s/"audit_id": "/"audit_id": "\xc3\xbc\\u0007/r));
}

done_testing();
