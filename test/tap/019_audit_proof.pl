# A stranger with a digest, a proof and a page of Python, and without the database:
# test/audit_proof.py says what doc/audit.md says.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use ProvconnNode;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'there is no python3 here' if system('python3 -c 1 >/dev/null 2>&1') != 0;

my $node = ProvconnNode::make('main');
my $session = ProvconnNode::session($node, application_name => "app \xc3\xa4");
my $acme = q('00000000-0000-4000-8000-0000000000aa');
my $user = q('00000000-0000-4000-8000-000000000001');
my $file = PostgreSQL::Test::Utils::tempdir() . '/digest';
my %digests;

# What the script says.
sub check
{
	my ($proof, $digest) = @_;
	my $said;

	unlink $file;
	append_to_file($file, $digest);
	my $ok = IPC::Run::run([ 'python3', "$FindBin::RealBin/../audit_proof.py", $file ], '<', \$proof, '>', \$said, '2>&1');
	chomp $said;
	return ($ok ? '' : 'no: ') . $said;
}

sub proof { return $session->value("SELECT provconn_audit_proof('$_[0]')"); }

# Seals of one row up to eleven, so that trees are of many shapes.
$session->must("SELECT provconn_register_provider('acme', 'Acme', 'custom', NULL, $acme)");
for my $size (1 .. 8, 11)
{
	$session->must("SELECT provconn_initiate($user, $acme, 'acme', '\xc3\xa4 $size.$_')") for 2 .. $size;
	$session->must("SELECT provconn_rename($user, '00000000-0000-4000-8000-000000000003', '$size')");
	my $digest = $session->value('SELECT provconn_seal_audit()');
	$digests{ $session->value("SELECT '$digest'::jsonb ->> 'seal_id'") } = $digest;
}
my @rows = @{ $session->must('SELECT l.audit_id, s.seal_id FROM provconn.seal AS s, provconn.seal_leaves(s.leaves) AS l ORDER BY 2, 1')->{rows} };
is(scalar(@rows), 47, 'there are rows');
is_deeply([ grep { check(proof($_->[0]), $digests{ $_->[1] }) ne 'proven' } @rows ], [], 'each one is proven by the digest of its seal');

my ($id, $seal) = @{ $rows[40] };
my $proof = proof($id);
is(check($proof, $digests{ $seal - 1 }), 'no: the digest is of another seal', 'but not by another digest');
for my $change (
	[ q('{entry,action}', '"connect"'), 'the row is not what was hashed' ],
	[ q('{entry,personal,user_id}', '"00000000-0000-4000-8000-000000000009"'), 'the personal values are not what was committed to' ],
	[ q('{tree_size}', '3'), 'the place is not in the tree' ],
	[ q('{audit_path}', '[]'), 'the path does not lead to the root' ],
	[ q('{seal,sealed_at}', '"2020-01-01T00:00:00.000000Z"'), 'the seal is not what was hashed' ])
{
	is(check($session->value("SELECT jsonb_set(provconn_audit_proof('$id'), $change->[0])"), $digests{$seal}), "no: $change->[1]", $change->[1]);
}
$session->must("SELECT provconn_erase_user($user)");
isnt(proof($id), $proof, 'a user is erased');
is_deeply([ grep { check(proof($_->[0]), $digests{ $_->[1] }) ne 'proven' } @rows ], [], 'each row is proven without what was personal');
is_deeply($session->must("SELECT * FROM provconn_verify_audit('$digests{$seal}')")->{rows}, [], 'and the audit verifies');

done_testing();
