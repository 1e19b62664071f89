# ProvconnNode: servers with provconn for the TAP tests.
#
# PostgreSQL's own modules, pg_regress and the programs are found through
# pg_config (PG_CONFIG, or the one in PATH).  PROVCONN_SERVER_CONF holds lines for
# postgresql.conf, or names a file that does, that tell a server where the
# extension is, if not in the server's own directories.  Data directories, logs and key files go to
# TESTDIR, or to a temporary directory that is kept when a test fails.

package ProvconnNode;

use strict;
use warnings;

use File::Basename qw(dirname);
use File::Temp     ();

BEGIN
{
	my $pg_config = $ENV{PG_CONFIG} || 'pg_config';

	die "initdb refuses root: run the TAP tests as an ordinary user\n"
	  if $> == 0;
	chomp(my $pgxs   = `$pg_config --pgxs`);
	chomp(my $bindir = `$pg_config --bindir`);
	die "$pg_config cannot be run\n" if $pgxs eq '' || $bindir eq '';

	my $source = dirname($pgxs) . '/..';
	push @INC, "$source/test/perl";
	$ENV{PG_REGRESS} ||= "$source/test/regress/pg_regress";
	$ENV{PATH} = "$bindir:$ENV{PATH}";
	if (!$ENV{TESTDIR} && !$ENV{TESTDATADIR})
	{
		my $dir =
		  File::Temp::tempdir('provconn-XXXXXX', TMPDIR => 1, CLEANUP => 1);

		$ENV{TESTDIR}     = $dir;
		$ENV{TESTDATADIR} = "$dir/tmp_check";
		$ENV{TESTLOGDIR}  = "$dir/log";
	}
}

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils ();

use ProvconnWire;

# A running server named $name with a key file and, in the database "postgres",
# the extension.  %opt:
#   conf        lines for postgresql.conf
#   init        arguments for the init method, as a hash
#   key         text of the key file; undef: one key is made
#   extension   0: do not create the extension
sub make
{
	my ($name, %opt) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	my $key = PostgreSQL::Test::Utils::tempdir() . '/key';

	$node->init(
		extra => [ '--encoding=UTF8', '--no-locale' ],
		%{ $opt{init} || {} });
	write_key($key, defined $opt{key} ? $opt{key} : random_key() . "\n");
	$node->append_conf('postgresql.conf', server_conf());
	$node->append_conf('postgresql.conf', "provconn.key_file = '$key'");
	$node->append_conf('postgresql.conf', $opt{conf}) if defined $opt{conf};
	$node->{provconn_key_file} = $key;
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION provconn CASCADE')
	  unless defined $opt{extension} && !$opt{extension};
	return $node;
}

sub server_conf
{
	my $conf = defined $ENV{PROVCONN_SERVER_CONF} ? $ENV{PROVCONN_SERVER_CONF} : '';

	return $conf =~ m{^/} && -f $conf ? PostgreSQL::Test::Utils::slurp_file($conf) : $conf;
}

sub key_file
{
	my ($node) = @_;

	return $node->{provconn_key_file};
}

# 64 hexadecimal digits.
sub random_key
{
	my $bytes = '';

	open(my $random, '<:raw', '/dev/urandom') or die "/dev/urandom: $!";
	read($random, $bytes, 32) == 32 or die "/dev/urandom: $!";
	close($random);
	return unpack('H*', $bytes);
}

sub write_key
{
	my ($path, $text, $mode) = @_;

	unlink $path;
	open(my $file, '>', $path) or die "$path: $!";
	print $file $text;
	close($file) or die "$path: $!";
	chmod(defined $mode ? $mode : 0600, $path) or die "$path: $!";
	return $path;
}

# A session that speaks the protocol itself: see ProvconnWire.pm.
sub session
{
	my ($node, %opt) = @_;

	return ProvconnWire->new($node->host . '/.s.PGSQL.' . $node->port, %opt);
}

# A month of long ago with one row, as they were made and written then.
sub make_old_month
{
	my ($session) = @_;

	$session->must($_)
	  for (
		'CREATE TABLE provconn.audit_2020_01 (LIKE provconn.audit INCLUDING ALL, CONSTRAINT audit_2020_01_pkey PRIMARY KEY (shard_key, audit_id))',
		'CREATE TRIGGER provconn_audit_no_truncate BEFORE TRUNCATE ON provconn.audit_2020_01 FOR EACH STATEMENT EXECUTE FUNCTION provconn.guard_audit()',
		'CREATE TRIGGER provconn_import BEFORE INSERT ON provconn.audit_2020_01 FOR EACH STATEMENT EXECUTE FUNCTION provconn.guard_import()',
		'ALTER TABLE provconn.audit_2020_01 ENABLE ALWAYS TRIGGER provconn_audit_no_truncate, ENABLE ALWAYS TRIGGER provconn_import',
		q(ALTER TABLE provconn.audit ATTACH PARTITION provconn.audit_2020_01 FOR VALUES FROM ('016f5e66-e800-7000-8000-000000000000') TO ('016ffe0c-0c00-7000-8000-000000000000')));
	insert_old_row($session);
	return;
}

# A refusal of that month, past the trigger that forbids its INSERT.
sub insert_old_row
{
	my ($session) = @_;

	$session->must($_)
	  for (
		'ALTER TABLE provconn.audit DISABLE TRIGGER provconn_import',
		q(INSERT INTO provconn.audit (shard_key, audit_id, occurred_at, action, outcome, origin, transaction_id, personal_salt, personal_hash, entry_hash)
		  SELECT 0, i, t, 'connect', 'refused', provconn.origin(), x, s, p,
			provconn.entry_hash(NULL, i, t, NULL, NULL, NULL, NULL, 'connect', 'refused', NULL, NULL, NULL, NULL, NULL, NULL, provconn.origin(), x, NULL, p)
		  FROM (SELECT '016f6000-0000-7000-8000-000000000001'::uuid, '2020-01-01 12:00+00'::timestamptz, pg_current_xact_id(), '\x5a17'::bytea) AS v (i, t, x, s),
			provconn.personal_hash(s, NULL, NULL, NULL, NULL, NULL) AS p),
		'ALTER TABLE provconn.audit ENABLE ALWAYS TRIGGER provconn_import');
	return;
}

sub log_size
{
	my ($node) = @_;

	return -s $node->logfile;
}

# What the server wrote to its log since it had that size.
sub log_since
{
	my ($node, $size) = @_;

	open(my $log, '<:raw', $node->logfile) or die $node->logfile . ": $!";
	seek($log, $size, 0);
	local $/;
	my $text = <$log>;
	close($log);
	return defined $text ? $text : '';
}

# What temporary files hold at the moment: those of a sort, a hash or a cursor WITH
# HOLD can be read while its cursor is open.
sub temporary_files
{
	my ($node) = @_;

	return join('', map { eval { PostgreSQL::Test::Utils::slurp_file($_) } // '' } glob($node->data_dir . '/base/pgsql_tmp/*'));
}

# Asks until the answer is true; false when it never was in so many seconds.
sub wait_until
{
	my ($check, $seconds) = @_;

	for (1 .. 50 * ($seconds // $PostgreSQL::Test::Utils::timeout_default))
	{
		return 1 if $check->();
		select(undef, undef, undef, 0.02);
	}
	return 0;
}

1;
