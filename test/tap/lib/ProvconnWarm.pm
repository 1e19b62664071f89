# ProvconnWarm: sessions that have long run every command, so that all that the
# library and the server keep of plans, relations, types, months, keys and names is
# in their memory, for the tests that change these things under them.
#
# A round is one connection's life by all commands.  Its statements are prepared once
# in each session, by the names of the commands, and have no parameter of a type of
# provconn's: they outlive the extension.

package ProvconnWarm;

use strict;
use warnings;

use ProvconnNode;

use constant PROVIDER => q('00000000-0000-4000-8000-0000000000aa');

my $tokens = 0;

sub outcome { return "concat_ws(' ', ok, status, version, error_code)"; }

sub credentials
{
	my ($token, $lasts) = @_;

	return "provconn_oauth2_credentials($token\::text, 'again', now() + $lasts\::text::interval)";
}

my %commands = (
	initiate => 'SELECT ' . outcome() . ', connection_id FROM provconn_initiate($1::uuid, ' . PROVIDER . ', $2)',
	connect  => 'SELECT ' . outcome() . ', connection_id FROM provconn_connect(provconn_connect_command($1::uuid, '
	  . PROVIDER . ', $2, ' . credentials('$3', '$4') . '), gen_random_uuid())',
	refresh => 'SELECT ' . outcome() . ' FROM provconn_refresh(provconn_refresh_command($1::uuid, ' . credentials('$2', '$3') . '))',
	reveal  => q(SELECT concat_ws(' ', ok, version, secret_text::json ->> 'access_token', error_code) FROM provconn_reveal($1::uuid, $2::uuid, $3)),
	claim   => q(SELECT concat_ws(' ', connection_id, secret_text::json ->> 'access_token', provider_slug), lease FROM provconn_claim_due('warm')),
	batch   => "SELECT string_agg(" . outcome() . ", ', ') FROM provconn_refresh_batch(ARRAY[provconn_refresh_command(\$1::uuid, "
	  . credentials('$2', q('1 minute')) . "), provconn_refresh_command(gen_random_uuid(), provconn_credentials('x', 'custom'))], ARRAY[\$3::uuid, NULL])",
	rename       => 'SELECT ' . outcome() . ' FROM provconn_rename($1::uuid, $2::uuid, $3)',
	metadata     => 'SELECT ' . outcome() . q( FROM provconn_set_metadata($1::uuid, $2::uuid, '{"a": 1}')),
	expire       => 'SELECT ' . outcome() . ' FROM provconn_mark_expired($1::uuid, $2)',
	reconnect    => 'SELECT ' . outcome() . ' FROM provconn_reauthenticate($1::uuid, $2::uuid, ' . credentials('$3', q('1 minute')) . ')',
	disconnect   => 'SELECT ' . outcome() . ' FROM provconn_disconnect(provconn_disconnect_command($1::uuid, $2::uuid))',
	trail => q(SELECT string_agg(concat_ws(' ', action, outcome, seq), ', ' ORDER BY seq, outcome),
		string_agg(DISTINCT concat_ws('/', provider_slug, session_role, caller_role, application_name), ' ')
		FROM provconn_audit_log WHERE connection_id = $1::uuid),
	rows => 'SELECT count(*) FROM provconn_audit_log');

# What a round is to say, and leave in the audit.
use constant ROUND => 't pending 0; t active 1; t active 2; t 2 second; CLAIMED; t active 3, f connection_not_found; '
  . 't active 3; t active 3; t expired 3; t active 4; f not_owned_by_user; t disconnected 4; '
  . 'initiate succeeded 1, connect succeeded 2, refresh succeeded 3, claim_due succeeded 4, '
  . 'refresh_batch succeeded 5, rename succeeded 6, set_metadata succeeded 7, mark_expired succeeded 8, '
  . 'reauthenticate succeeded 9, disconnect succeeded 10, reveal refused, reveal succeeded; 13 rows';

# %opt: user and dbname as for a session, search_path.
sub new
{
	my ($class, $node, %opt) = @_;
	my $name = $opt{user} // getpwuid($>);
	my $self = bless { slug => 'acme', session => ProvconnNode::session($node, application_name => 'warm', %opt) }, $class;

	$self->{who} = "$name/$name/warm";
	$self->prepare;
	return $self;
}

# Again, where a plan cannot outlive a change: that of a composite type is not told to
# the plans that use a function which returns it.
sub prepare
{
	my ($self) = @_;

	$self->{session}->must('DEALLOCATE ALL');
	for my $command (sort keys %commands)
	{
		my $error = $self->{session}->prepare($command, $commands{$command})->{error};

		die "$command: $error->{M}\n" if $error;
	}
	return;
}

sub session { return $_[0]{session}; }

# The connection that each session has for good.
sub keep
{
	my ($self) = @_;

	$self->{user} = $self->new_user;
	$self->{kept} = $self->must('connect', $self->{user}, $self->{slug}, 'kept', '1 day')->[1];
	$self->must('rename', $self->{user}, $self->{kept}, 'kept');
	return;
}

sub new_user
{
	return sprintf('%08x-0000-4000-8000-%012x', ++$tokens, $$);
}

sub start
{
	my ($self, $command, @values) = @_;
	my @parameters = map { [ 25, 0, $_ ] } @values;

	$self->{session}->put($self->{session}->bind_execute($command, @parameters) . ProvconnWire::message('S', ''));
	return;
}

sub run
{
	my ($self, $command, @values) = @_;

	$self->start($command, @values);
	return $self->{session}->finish;
}

# The first row; dies of an error.
sub must
{
	my ($self, $command, @values) = @_;
	my $result = $self->run($command, @values);

	die "$command: $result->{error}{C} $result->{error}{M}\n" if $result->{error};
	return $result->{rows}[0] // [''];
}

# A command's result on a new or the kept connection, or its error, as one line.
sub say
{
	my ($self, $command) = @_;

	$self->start_say($command);
	return $self->finish_say;
}

sub start_say
{
	my ($self, $command) = @_;
	my ($user, $kept) = @{$self}{qw(user kept)};
	my %values = (
		initiate => [ $user, $self->{slug} ],
		connect  => [ $user, $self->{slug}, 'more', '1 day' ],
		refresh  => [ $kept, 'kept', '1 day' ],
		reveal   => [ $user, $kept, 'why' ],
		rename   => [ $user, $kept, 'kept' ],
		expire   => [ $kept, 'why' ]);

	$self->start($command, @{ $values{$command} || [] });
	return;
}

sub finish_say
{
	my ($self) = @_;
	my $result = $self->{session}->finish;

	return $result->{error} ? "$result->{error}{C} $result->{error}{M}" : $result->{rows}[0][0] // '';
}

# A round, as what ROUND is; the error that ended it, if one did.
sub round
{
	my ($self) = @_;
	my $user = $self->new_user;
	my $alias = $self->{alias} = "alias $tokens";
	my @said;

	return $@ =~ s/\n\z//r unless eval {
		my $before = $self->must('rows')->[0];
		my ($said, $id) = @{ $self->must('initiate', $user, $self->{slug}) };

		push @said, $said, $self->must('connect', $user, $self->{slug}, 'first', '1 minute')->[0],
		  $self->must('refresh', $id, 'second', '1 minute')->[0], $self->must('reveal', $user, $id, $alias)->[0];
		($said, my $lease) = @{ $self->must('claim') };
		push @said, $said eq "$id second $self->{slug}" ? 'CLAIMED' : "claimed '$said'";
		push @said, $self->must('batch', $id, 'third', $lease)->[0], $self->must('rename', $user, $id, $alias)->[0],
		  $self->must('metadata', $user, $id)->[0], $self->must('expire', $id, $alias)->[0],
		  $self->must('reconnect', $user, $id, 'fourth')->[0], $self->must('reveal', $self->new_user, $id, $alias)->[0],
		  $self->must('disconnect', $user, $id)->[0];
		my ($trail, $who) = @{ $self->must('trail', $id) };
		push @said, $trail, $self->must('rows')->[0] - $before . ' rows';
		push @said, "by $who" if $who ne "$self->{slug}/$self->{who}";
		1;
	};
	return join('; ', @said);
}

1;
