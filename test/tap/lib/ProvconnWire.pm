# ProvconnWire: a client of its own, for what psql cannot do on every version:
# parameters bound by the extended protocol, of any type and format, and several
# statements under way at once.
#
# It speaks protocol 3.0 over a Unix socket, without authentication.  A result is
# a hash:
#   rows      array of rows, which are arrays of strings or undef
#   tag       the last command tag
#   error     undef, or a hash of the fields by their letters: C is the SQLSTATE,
#             M the message, D the detail, H the hint, W the context
#   notices   array of such hashes
# Whatever the server said in errors and notices is kept in $session->said too.

package ProvconnWire;

use strict;
use warnings;

use IO::Socket::UNIX;

# As PostgreSQL's own tests have it.
my $timeout = $ENV{PG_TEST_TIMEOUT_DEFAULT} || 180;

# %opt: user (the superuser when not given), dbname, and settings for the start-up
# packet.
sub new
{
	my ($class, $path, %opt) = @_;
	my $self = bless { path => $path, said => '', buffer => '' }, $class;

	$opt{user} = getpwuid($>) unless defined $opt{user};
	$opt{database} = delete $opt{dbname} || 'postgres';
	$self->{socket} = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $path)
	  or die "$path: $!";
	$self->{socket}->autoflush(1);

	my $body = pack('N', 196608) . join('', map { "$_\0$opt{$_}\0" } sort keys %opt) . "\0";
	$self->put(pack('N', length($body) + 4) . $body);
	my $result = $self->finish;
	die "could not connect: $result->{error}{M}\n" if $result->{error};
	return $self;
}

# The simple protocol.
sub query
{
	my ($self, $sql) = @_;

	$self->start_query($sql);
	return $self->finish;
}

sub start_query
{
	my ($self, $sql) = @_;

	$self->put(message('Q', "$sql\0"));
	return;
}

# The extended protocol; each parameter is [type oid, format (0 text, 1 binary), value].
sub bound
{
	my ($self, $sql, @parameters) = @_;

	$self->start_bound($sql, @parameters);
	return $self->finish;
}

sub start_bound
{
	my ($self, $sql, @parameters) = @_;

	$self->put($self->parse('', $sql, map { $_->[0] } @parameters)
		  . $self->bind_execute('', @parameters)
		  . message('S', ''));
	return;
}

# A named statement, prepared once and run often.
sub prepare
{
	my ($self, $name, $sql, @types) = @_;

	$self->put($self->parse($name, $sql, @types) . message('S', ''));
	return $self->finish;
}

sub execute
{
	my ($self, $name, @parameters) = @_;

	$self->put($self->bind_execute($name, @parameters) . message('S', ''));
	return $self->finish;
}

# The first column of the first row; dies of an error.
sub value
{
	my ($self, $sql, @parameters) = @_;
	my $result =
	  @parameters ? $self->bound($sql, @parameters) : $self->query($sql);

	die "$sql: $result->{error}{M}\n" if $result->{error};
	return $result->{rows}[0] ? $result->{rows}[0][0] : undef;
}

# Runs a query whose failure is no part of the test.
sub must
{
	my ($self, $sql) = @_;
	my $result = $self->query($sql);

	die "$sql: $result->{error}{M}\n" if $result->{error};
	return $result;
}

# Reads what the server says to the statement under way.
sub finish
{
	my ($self) = @_;
	my $result = { rows => [], notices => [], error => undef, tag => undef };

	for (;;)
	{
		my ($type, $body) = $self->get;

		return $result if $type eq 'Z';
		if ($type eq 'E' || $type eq 'N')
		{
			my %fields = map { (substr($_, 0, 1), substr($_, 1)) }
			  grep { $_ ne '' } split(/\0/, $body);

			$self->{said} .= join(' ', map { $fields{$_} } sort keys %fields) . "\n";
			push @{ $result->{notices} }, \%fields if $type eq 'N';
			$result->{error} ||= \%fields if $type eq 'E';
			return $result if $type eq 'E' && $fields{S} =~ /^(FATAL|PANIC)$/;
		}
		elsif ($type eq 'D')
		{
			my ($count, $at) = (unpack('n', $body), 2);
			my @row;

			for (1 .. $count)
			{
				my $length = unpack('l>', substr($body, $at, 4));

				$at += 4;
				push @row, $length < 0 ? undef : substr($body, $at, $length);
				$at += $length if $length > 0;
			}
			push @{ $result->{rows} }, \@row;
		}
		elsif ($type eq 'C')
		{
			($result->{tag} = $body) =~ s/\0//;
		}
		elsif ($type eq 'A')
		{
			my ($channel, $payload) = split(/\0/, substr($body, 4));

			push @{ $self->{notifications} }, [ $channel, $payload ];
		}
		elsif ($type eq 'K')
		{
			($self->{pid}, $self->{secret}) = unpack('NN', $body);
		}
		elsif ($type eq 'R' && unpack('N', $body) != 0)
		{
			die "the server wants a password\n";
		}
	}
}

# Whether the server has said something that was not read yet.
sub is_ready
{
	my ($self) = @_;

	return $self->{buffer} ne '' || $self->is_readable(0);
}

sub cancel
{
	my ($self) = @_;
	my $socket =
	  IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $self->{path})
	  or die "$self->{path}: $!";

	$socket->syswrite(pack('NNNN', 16, 80877102, $self->{pid}, $self->{secret}));
	$socket->sysread(my $nothing, 1);
	return;
}

# What has been notified so far, as arrays of channel and payload, since last asked.
sub notifications
{
	my ($self) = @_;

	$self->query('');
	return @{ delete $self->{notifications} || [] };
}

sub pid { return $_[0]{pid}; }

sub said { return $_[0]{said}; }

sub close
{
	my ($self) = @_;

	$self->{socket}->syswrite(message('X', '')) if $self->{socket};
	$self->{socket} = undef;
	return;
}

sub is_readable
{
	my ($self, $seconds) = @_;
	my $bits = '';

	vec($bits, fileno($self->{socket}), 1) = 1;
	return select($bits, undef, undef, $seconds) > 0;
}

sub parse
{
	my ($self, $name, $sql, @types) = @_;

	return message('P', "$name\0$sql\0" . pack('n N*', scalar @types, @types));
}

sub bind_execute
{
	my ($self, $name, @parameters) = @_;
	my $body = "\0$name\0" . pack('n n*', scalar @parameters, map { $_->[1] } @parameters);

	$body .= pack('n', scalar @parameters);
	for my $parameter (@parameters)
	{
		$body .=
		  defined $parameter->[2]
		  ? pack('N', length $parameter->[2]) . $parameter->[2]
		  : pack('N', 0xffffffff);
	}
	return message('B', $body . pack('n', 0)) . message('E', "\0" . pack('N', 0));
}

sub message
{
	my ($type, $body) = @_;

	return $type . pack('N', length($body) + 4) . $body;
}

sub put
{
	my ($self, $bytes) = @_;

	while ($bytes ne '')
	{
		my $written = $self->{socket}->syswrite($bytes);

		die "the connection was lost: $!\n" unless defined $written;
		substr($bytes, 0, $written) = '';
	}
	return;
}

sub get
{
	my ($self) = @_;

	while (length $self->{buffer} < 5
		|| length $self->{buffer} < 1 + unpack('N', substr($self->{buffer}, 1, 4)))
	{
		die "the server did not answer within $timeout seconds\n"
		  unless $self->is_readable($timeout);
		my $got = $self->{socket}->sysread($self->{buffer}, 65536, length $self->{buffer});

		die "the connection was lost\n" unless $got;
	}
	my $length = unpack('N', substr($self->{buffer}, 1, 4));
	my $type   = substr($self->{buffer}, 0, 1);
	my $body   = substr($self->{buffer}, 5, $length - 4);

	substr($self->{buffer}, 0, $length + 1) = '';
	return ($type, $body);
}

1;
