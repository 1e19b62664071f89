# Proofs that an audit row is in what was sealed, checked by test/audit_proof.py, which
# has no database and was written from doc/audit.md alone: they hold for rows of all
# kinds, and nothing in them, in the digest or in the seals between can be changed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use IPC::Run ();
use JSON::PP ();
use List::Util qw(uniq);
use ProvconnNode;
use ProvconnWorker;
use PostgreSQL::Test::Utils;
use Test::More;

use constant { PROVIDER => ProvconnWorker::PROVIDER, STRANGER => q('00000000-0000-4000-8000-000000000001') };

my $dir = PostgreSQL::Test::Utils::tempdir();
my $json = JSON::PP->new->utf8->canonical->allow_nonref;

my @waiting;

# Whether all cases, each [name, digest, proof, seals ...], texts or values, get a verdict
# like that: found out by check_all, for all of them in one process.
sub all_like
{
	my ($what, $pattern, @cases) = @_;

	push @waiting, [ $what, $pattern, map { [ shift @$_, join(',', map { unpack('H*', ref ? $json->encode($_) : $_) } @$_) ] } @cases ];
	return;
}

sub check_all
{
	my ($out, $err) = ('', '');
	my $in = join('', map { my (undef, undef, @cases) = @$_; map { "$_->[1]\n" } @cases } @waiting);
	my $program = "import sys; sys.path.insert(0, sys.argv[1])\nimport audit_proof\nfor line in sys.stdin:\n"
	  . "    print(audit_proof.verdict(*map(bytes.fromhex, line.split(','))).encode('unicode_escape').decode())";

	IPC::Run::run([ 'python3', '-B', '-c', $program, "$FindBin::RealBin/.." ], '<', \$in, '>', \$out, '2>', \$err);
	is($err, '', 'no traceback');
	my @verdicts = split /\n/, $out;

	for (@waiting)
	{
		my ($what, $pattern, @cases) = @$_;
		my @wrong = grep { $_->[1] !~ $pattern } map { [ $_->[0], shift @verdicts // 'nothing' ] } @cases;

		ok(@cases && !@wrong, "$what: all " . @cases)
		  or diag(map { "$_->[0]: $_->[1]\n" } @wrong);
	}
	return;
}

# --- what to put in the place of a value ----------------------------------------

sub flip
{
	my ($text, $at) = @_;

	substr($text, $at, 1) = substr($text, $at, 1) eq '0' ? '1' : '0';
	return $text;
}

sub instead_of
{
	my ($value) = @_;
	my $text = ref $value ? '' : $value;

	return ('x', 1, '', '0' x 32, '3' x 64, '00000000-0000-4000-8000-000000000009', [], {}) if !defined $value;
	return (undef, 'x', 1, []) if ref $value;
	return ($value + 1, $value - 1, $value + 2**32, -$value - 1, "$text", undef, 'x', [$value], 1e300) if $json->encode($value) !~ /^"/;
	return (undef, '', 1, [$value], "${value}0", "$value\0", "$value ", $value eq '' ? () : substr($value, 1),
		map { flip($value, $_) } uniq(grep { $_ >= 0 && $_ < length $value } 0, 7, 14, length($value) / 2 + 2, length($value) - 2, length($value) - 1));
}

# All that is one step from a value: [name, value], ...
sub mutants
{
	my ($value, $name) = @_;
	my @found = map { [ "$name is " . $json->encode($_), $_ ] } instead_of($value);

	if (ref $value eq 'HASH')
	{
		for my $key (sort keys %$value)
		{
			my %without = %$value;

			delete $without{$key};
			push @found, [ "$name without $key", \%without ], map { [ $_->[0], { %$value, $key => $_->[1] } ] } mutants($value->{$key}, "$name.$key");
		}
	}
	elsif (ref $value eq 'ARRAY')
	{
		push @found, [ "$name with more", [ @$value, '3' x 64 ] ], [ "$name with more before", [ '3' x 64, @$value ] ];
		push @found, [ "$name backwards", [ reverse @$value ] ] if @$value > 1;
		for my $i (0 .. $#$value)
		{
			push @found, [ "$name without $i", [ @$value[ grep { $_ != $i } 0 .. $#$value ] ] ],
			  map { [ $_->[0], [ @$value[ 0 .. $i - 1 ], $_->[1], @$value[ $i + 1 .. $#$value ] ] ] } mutants($value->[$i], "$name.$i");
		}
	}
	return @found;
}

# --- what is in the audit ---------------------------------------------------------

my $node = ProvconnWorker::make('main', conf => "provconn.seal_interval = 0\nlisten_addresses = '127.0.0.1'");
my %sealed;    # by encoding: digests, seals and proofs, in the order of the audit

# What is told to the audit: beyond ASCII, and what JSON has to escape.
my %special = (UTF8 => "Z\xc3\xbcrich \xe2\x82\xac \xf0\x9f\x94\x91 \xe2\x80\xa8", LATIN1 => "Z\xc3\xbcrich \xc3\xbf\xc2\xa0\xc2\xa3");
my %database = (UTF8 => 'postgres', LATIN1 => 'latin');

$node->safe_psql('postgres', $_)
  for (qq(CREATE ROLE "pr\xc3\xbcferin" SUPERUSER LOGIN), "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'");
$node->safe_psql('latin', 'CREATE EXTENSION provconn CASCADE');
$node->append_conf('postgresql.conf', "provconn.databases = 'postgres, latin'");
$node->restart;

for my $encoding (qw(UTF8 LATIN1))
{
	my $text = qq(\$\$$special{$encoding} "quoted" \\u00e9 \\ / \n\t\x01\x7f\$\$);
	my $session = ProvconnNode::session($node, dbname => $database{$encoding}, client_encoding => 'UTF8', user => "pr\xc3\xbcferin", application_name => $special{$encoding});
	my $digests = [];
	my $leaver = ProvconnWorker::user(1);

	# Statements that leave so many rows, in a seal of their own.
	my $seal = sub {
		my ($count, @statements) = @_;

		$session->must($_) for @statements;
		push @$digests, $session->value('SELECT provconn_seal_audit()');
		is($json->decode($digests->[-1])->{rows}, $count, "$encoding: a seal of $count");
	};
	my $connect = sub { return "provconn_connect(provconn_connect_command($_[0], " . PROVIDER . ", 'acme', provconn_credentials('s', 'custom'), 'alias \xc3\xa9'))" };
	my $proofs = sub { return map { $json->decode($_->[0]) } @{ $session->must("SELECT provconn_audit_proof(audit_id) FROM ($_[0]) AS a")->{rows} } };

	$session->must("SELECT provconn_register_provider('acme', 'Acme', 'custom', NULL, " . PROVIDER . ')');
	$seal->(1, 'SELECT ' . $connect->($leaver));
	my $id = q(') . $session->value('SELECT connection_id FROM provconn_connections') . q(');
	$seal->(2, 'SELECT provconn_reveal(' . STRANGER . ", $id, $text)", "SELECT provconn_reveal($leaver, $id, $text)");
	$seal->(3, map { "SELECT provconn_$_" } "rename($leaver, $id, $text)", "mark_revoked($id, $text)", "reveal($leaver, $id)");
	$seal->(5, "SELECT provconn_mark_failed(gen_random_uuid(), $text || n) FROM generate_series(1, 5) AS n");
	$seal->(64, 'SELECT ' . $connect->('gen_random_uuid()') . ' FROM generate_series(1, 64)');

	$node->safe_psql($database{$encoding}, "SELECT provconn_mark_failed(NULL, 'by TCP')", connstr => $node->connstr($database{$encoding}) . ' host=127.0.0.1');
	$session->must($_) for ('BEGIN', 'SELECT ' . $connect->(STRANGER), "SELECT provconn_mark_revoked($id, $text)", 'ROLLBACK');
	ok(ProvconnWorker::settle($session), "$encoding: what was rolled back is on record");
	$seal->(4);

	my @kept = $proofs->("SELECT audit_id FROM provconn_audit_log WHERE user_id = $leaver");
	$seal->(
		334,
		'SELECT ' . $connect->(q(md5((n / 3 + 1000)::text)::uuid)) . ", provconn_mark_expired(gen_random_uuid(), repeat($text, n)) FROM generate_series(1, 166) AS n",
		"SELECT provconn_erase_user($leaver)");
	my @proofs = $proofs->('SELECT audit_id FROM (SELECT audit_id, last_id, row_number() OVER (PARTITION BY seal_id ORDER BY audit_id) AS n
		FROM provconn.seal JOIN provconn.audit ON audit_id BETWEEN first_id AND last_id) AS b
		WHERE n % 23 IN (1, 2) OR n < 6 OR audit_id = last_id ORDER BY audit_id');

	$sealed{$encoding} = {
		digests => $digests, proofs => \@proofs, kept => \@kept,
		seals => [ map { $_->[0] } @{ $session->must('SELECT provconn.seal_json(s) FROM provconn.seal AS s ORDER BY seal_id')->{rows} } ]
	};

	# That all there is to prove is among them.
	my %found = map { ("$_->{seal}{seal_id}.$_->{leaf_index}" => 1) } @proofs;
	my @entries = map { $_->{entry} } @proofs;
	is(scalar(grep { $found{"$_->{seal_id}.0"} && $found{ "$_->{seal_id}." . ($_->{row_count} - 1) } } map { $json->decode($_) } @{ $sealed{$encoding}{seals} }),
		7, "$encoding: the first and the last row of each seal");
	is(join(' ', sort { $a cmp $b } uniq(map { $_->{outcome} } @entries)), 'refused rolled_back succeeded', "$encoding: of all outcomes");
	for (
		[ 'is erased', sub { !$_->{personal} } ],
		[ 'follows another one', sub { $_->{previous_hash} } ],
		[ 'is an attempt', sub { $_->{attempt_id} } ],
		[ 'came by TCP', sub { $_->{personal} && ($_->{personal}{client_address} // '') eq '127.0.0.1' } ],
		[ 'has a reason beyond ASCII', sub { $_->{personal} && ($_->{personal}{reason} // '') =~ /\xfc.*"quoted"/ } ],
		[ 'is of a role beyond ASCII', sub { $_->{caller_role} =~ /[^\0-\x7f]/ } ])
	{
		my ($what, $is) = @$_;

		ok(scalar(grep { $is->() } @entries), "$encoding: one $what");
	}
	cmp_ok(scalar @kept, '>', 2, "$encoding: proofs from before the user was erased");
}

# --- what holds -------------------------------------------------------------------

for my $encoding (qw(UTF8 LATIN1))
{
	my ($digests, $seals, $proofs, $kept) = @{ $sealed{$encoding} }{qw(digests seals proofs kept)};
	my $other = $sealed{ $encoding eq 'UTF8' ? 'LATIN1' : 'UTF8' };
	my $number = sub { return $_[0]{seal}{seal_id} };
	my $digest = sub { return $digests->[ $number->($_[0]) - 1 ] };
	my $between = sub { return join('', map { "$_\n" } @{$seals}[ $number->($_[0]) .. $#$seals ]) };
	my $named = sub { return "row $_[0]{entry}{audit_id}" };

	all_like("$encoding, each proof with the digest of its seal", qr/^ok: row \S+ is leaf \d+ of \d+ in seal \d,/, map { [ $named->($_), $digest->($_), $_ ] } @$proofs, @$kept);
	all_like("$encoding, each proof with the last digest", qr/^ok: .* by the digest of seal 7: /, map { [ $named->($_), $digests->[-1], $_, $between->($_) ] } @$proofs);
	all_like("$encoding, all seals in any order", qr/^ok: /, map { [ $named->($_), $digests->[-1], $_, join("\n", reverse @$seals), $seals->[0] ] } @$proofs);
	all_like("$encoding, what was erased since", qr/^ok: .* personal values proved too$/, map { [ $named->($_), $digest->($_), $_ ] } @$kept);
	all_like("$encoding, personal values kept back", qr/^ok: .* personal values not told$/,
		map { [ $named->($_), $digest->($_), { %$_, entry => { %{ $_->{entry} }, personal => undef } } ] } @$proofs);

	# --- and what does not ---

	all_like("$encoding, a digest of another seal", qr/^FAILED: (the digest is of an earlier seal|seal \d is needed)/,
		map { my $proof = $_; map { [ $named->($proof) . ', ' . $_, $_, $proof ] } grep { $_ ne $digest->($proof) } @$digests } @{$proofs}[ 0 .. 20 ]);
	all_like("$encoding, a digest of another database", qr/^FAILED: seal \d has not the hash that is in the digest$/, map { [ $named->($_), $other->{digests}[ $number->($_) - 1 ], $_ ] } @$proofs);
	all_like("$encoding, another database's seals", qr/^FAILED: seal 7 has not the hash that is in the digest$/, map { [ $named->($_), $digests->[-1], $_, join("\n", @{ $other->{seals} }) ] } @{$proofs}[ 0 .. 9 ]);
	for my $what (qw(entry seal leaf_index audit_path tree_size))
	{
		all_like("$encoding, the next proof's $what", qr/^FAILED: /, map { [ $named->($_->[0]), $digest->($_->[0]), { %{ $_->[0] }, $what => $_->[1]{$what} } ] }
			grep { $json->encode($_->[0]{$what}) ne $json->encode($_->[1]{$what}) } map { [ @{$proofs}[ $_, $_ + 1 ] ] } 0 .. $#$proofs - 1);
	}

	# One step from proofs of those who were erased, in chains, rolled back, and others.
	my @chosen = ($kept->[-1], map { my $seal_id = $_; (grep { $number->($_) == $seal_id } @$proofs)[-1] } $encoding eq 'UTF8' ? (1, 3, 6, 7) : 5);
	all_like("$encoding, a proof that was changed", qr/^FAILED: /,
		map { my $proof = $_; map { [ $_->[0], $digest->($proof), $_->[1] ] } grep { $_->[0] ne 'proof.entry.personal is null' } mutants($proof, 'proof') } @chosen);
	all_like("$encoding, a digest that was changed", qr/^FAILED: /,
		map { my $proof = $_; map { [ $_->[0], $_->[1], $proof ] } mutants($json->decode($digest->($proof)), 'digest') } @chosen[ 0, -1 ]);
	# The mac is in no hash: it shows in the digest's own seal alone.
	my ($third) = grep { $number->($_) == 4 } @$proofs;
	for my $seal_id (5 .. 7)
	{
		all_like("$encoding, a seal between that was changed", qr/^FAILED: /,
			map { [ $_->[0], $digests->[-1], $third, map({ "$_\n" } grep { $json->decode($_)->{seal_id} != $seal_id } @$seals), $_->[1] ] }
			grep { $seal_id == 7 || $_->[0] !~ /\.mac |without mac$/ } mutants($json->decode($seals->[ $seal_id - 1 ]), 'seal'));
		all_like("$encoding, a seal between that is not there", qr/^FAILED: seal $seal_id is needed/,
			[ "without $seal_id", $digests->[-1], $third, join("\n", grep { $json->decode($_)->{seal_id} != $seal_id } @$seals) ]);
	}
}

# --- what is no proof -----------------------------------------------------------------

my $proof = $sealed{UTF8}{proofs}[0];
my ($digest, $text) = ($sealed{UTF8}{digests}[0], $json->encode($proof));
my @garbage = ('', ' ', 'null', 'true', '1', '"x"', '[]', '{}', '[{}]', '{"format": 1}', '[' x 200000, '{"a":' x 200000, "\xff\xfe", "\0", "\x{1f}" x 9, 'NaN', '1' x 5000, substr($text, 0, -1), "$text$text", "$text,", $digest, $sealed{UTF8}{seals}[0]);

for ([ '"action":"connect"', '"action":"\ud800"' ], [ '"leaf_index":0', '"leaf_index":NaN' ], [ '"leaf_index":0', '"leaf_index":-1e999' ],
	[ '"leaf_index":0', '"leaf_index":' . '1' x 5000 ], [ '"version":1', '"version":4294967297' ], [ '"tree_size":2', '"tree_size":1e300' ],
	[ '"occurred_at":"2', '"occurred_at":"0' ], [ "pr\xc3\xbcferin", "pr\xfcferin" ], [ '"seal_id":1', '"seal_id":[[]]' ])
{
	my ($old, $new) = @$_;

	push @garbage, $text =~ s/\Q$old\E/$new/r;
	isnt($garbage[-1], $text, "there is $old");
}
all_like('garbage for a proof', qr/^FAILED: /, map { [ substr($_, 0, 80), $digest, $_ ] } @garbage);
all_like('garbage for a digest', qr/^FAILED: /, map { [ substr($_, 0, 80), $_, $proof ] } $text, grep { $_ ne $digest } @garbage);
all_like('garbage for seals', qr/^FAILED: /, map { [ substr($_, 0, 80), $sealed{UTF8}{digests}[-1], $proof, $_ ] } @garbage);
check_all();

# --- the command ----------------------------------------------------------------------

sub run_checker
{
	my ($out, $err) = ('', '');

	IPC::Run::run([ 'python3', "$FindBin::RealBin/../audit_proof.py", @_ ], '<', \undef, '>', \$out, '2>', \$err);
	return ($? >> 8) . " $out$err";
}

my @names = map { "$dir/$_" } 0 .. 3;
append_to_file(shift @$_, @$_) for ([ $names[0], $digest ], [ $names[1], $text ], [ $names[2], $json->encode({ %$proof, leaf_index => 1 }) ], [ $names[3], "pr\xc3\xbcferin" ]);
like(run_checker(@names[ 0, 1 ]), qr/^0 ok: row $proof->{entry}{audit_id} is leaf 0 of 2 in seal 1, by the digest of seal 1: connect, succeeded, $proof->{entry}{occurred_at}, personal values not told\n$/, 'a proof');
is(run_checker(@names[ 0, 2 ]), "1 FAILED: leaf_index is not that of a row\n", 'no proof');
like(run_checker(@names[ 0, 3 ]), qr/^1 FAILED: .+\n$/, 'no JSON');
like(run_checker($names[0], $dir), qr/^1 FAILED: .+\n$/, 'no file');
like(run_checker($names[0]), qr/^1 FAILED: .*DIGEST\.json PROOF\.json/s, 'no arguments');

done_testing();
