# ProvconnQueue: due connections, providers that do not exist and workers, for the
# tests of the refresh queue.
#
# PROVCONN_TEST_SCALE (default 1) multiplies what these tests are sized by: at 25,
# 009_queue_drain.pl drains 100,000 connections; at 50, 012_index_time.pl claims
# out of 1,000,000.

package ProvconnQueue;

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Utils ();

use constant WORKER => "$FindBin::RealBin/../worker/worker.sql";

# A size times PROVCONN_TEST_SCALE.
sub scaled
{
	my ($size) = @_;

	return int($size * ($ENV{PROVCONN_TEST_SCALE} || 1));
}

# Registers providers, installs the worker of test/worker, a role "worker" that
# may use it, and the function answer(): a provider that issues new tokens.
sub prepare
{
	my ($admin, @slugs) = @_;

	$admin->must($_)
	  for (
		map({ "SELECT provconn_register_provider('$_', '$_', 'oauth2', NULL, " . provider($_) . ')' } @slugs),
		PostgreSQL::Test::Utils::slurp_file(WORKER),
		q(DO $$BEGIN CREATE ROLE worker LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END$$),
		q(SELECT provconn_grant('worker', 'worker')),
		q(CREATE FUNCTION answer(slug text, credential text) RETURNS text LANGUAGE sql AS
			$$SELECT json_build_object('access_token', 'second', 'refresh_token',
				credential::json ->> 'refresh_token', 'expires_in', 86400)::text$$));
	return;
}

# The id of a provider, from its slug.
sub provider
{
	my ($slug) = @_;

	return "md5('$slug')::uuid";
}

# Connects so many connections, each of a user of its own; $expires is an SQL
# expression over n, their number.
sub connect_many
{
	my ($admin, $slug, $count, $expires) = @_;

	# the plans for an empty table are no good for a large load
	for (my ($from, $to) = (1, 0); $to < $count; $from = $to + 1)
	{
		$to = $from == 1 ? 1000 : $to + 50000;
		$to = $count if $to > $count;
		my $accepted = $admin->value(
			"SELECT count(*) FILTER (WHERE c.ok) FROM generate_series($from, $to) AS n, provconn_connect("
			  . 'provconn_connect_command(gen_random_uuid(), ' . provider($slug) . ", '$slug',"
			  . " provconn_oauth2_credentials('first', '$slug-' || n, $expires))) AS c");

		die "only $accepted of $from to $to connections to $slug\n" if $accepted != $to - $from + 1;
		$admin->must('ANALYZE provconn.connection') if $from == 1;
	}
	return;
}

# What the server has complained of in its log.
sub complaints
{
	my ($log) = @_;

	return join("\n", grep { /\b(ERROR|FATAL|PANIC|WARNING):|deadlock|could not serialize/ } split(/\n/, $log));
}

1;
