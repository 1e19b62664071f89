# ProvconnCanary: secrets that can be told apart wherever they turn up.
#
# Each canary has a number in it, and the set of places where it may be found:
# not one more, and, so that the search itself is tested, not one less.  Places
# are names that the test gives to what it has searched.  A canary is found as
# it is, in hexadecimal digits, in base64 at each of its three alignments, and as
# the numbers of its bytes, which is how the catalog has constants.

package ProvconnCanary;

use strict;
use warnings;

use File::Find ();
use MIME::Base64 qw(encode_base64 decode_base64);

use constant MARK => 'PVCANARY';

sub new
{
	my ($class) = @_;
	my @base64;

	for my $shift (0 .. 2)
	{
		my $text = encode_base64("\0" x $shift . MARK, '');
		my $start = (0, 2, 3)[$shift];
		my $stable = int((8 * ($shift + length(MARK))) / 6) - $start;

		push @base64, [ substr($text, $start, $stable), $start ];
	}
	return bless { list => [], found => {}, base64 => \@base64 }, $class;
}

# A new one; $what says how it is used, @places where it may be found.
sub hatch
{
	my ($self, $what, @places) = @_;

	push @{ $self->{list} }, { what => $what, places => [ sort @places ] };
	return sprintf('%s%04dtail', MARK, $#{ $self->{list} });
}

# One that was not used after all.
sub forget
{
	my ($self, $canary) = @_;

	$self->{list}[ substr($canary, length(MARK), 4) ]{places} = [];
	return;
}

# Searches a text, by reference.
sub search_text
{
	my ($self, $place, $text) = @_;
	my $mark = MARK;
	my $hex  = unpack('H*', MARK);

	while ($$text =~ /$mark(\d{4})/g)
	{
		$self->{found}{ $1 + 0 }{$place} = 1;
	}
	while ($$text =~ /$hex((?:3\d){4})/gi)
	{
		$self->{found}{ pack('H*', $1) + 0 }{$place} = 1;
	}
	my $numbers = join(' ', unpack('C*', MARK));
	while ($$text =~ /\b$numbers((?: \d\d){4})/g)
	{
		$self->{found}{ pack('C*', split(' ', $1)) + 0 }{$place} = 1;
	}
	for my $form (@{ $self->{base64} })
	{
		my ($stable, $start) = @$form;

		while ($$text =~ /\Q$stable\E/g)
		{
			my $from = pos($$text) - length($stable) - $start;
			my $bytes = $from < 0 ? '' : decode_base64(substr($$text, $from, 24));

			$self->{found}{ $1 + 0 }{$place} = 1 if $bytes =~ /$mark(\d{4})/;
		}
	}
	return;
}

# Searches all files below a directory but those whose path matches $except.
sub search_files
{
	my ($self, $place, $dir, $except) = @_;

	File::Find::find(
		{
			no_chdir => 1,
			wanted   => sub {
				my $path = $File::Find::name;

				return if !-f $path || (defined $except && $path =~ $except);
				open(my $file, '<:raw', $path) or return;
				local $/;
				my $text = <$file>;
				close($file);
				$self->search_text($place, \$text) if defined $text;
			}
		},
		$dir);
	return;
}

sub is_found
{
	my ($self, $canary, $place) = @_;

	return $self->{found}{ substr($canary, length(MARK), 4) + 0 }{$place};
}

# One line for each canary that was not found exactly where it may be.
sub complaints
{
	my ($self) = @_;
	my @lines;

	for my $number (0 .. $#{ $self->{list} })
	{
		my $canary = $self->{list}[$number];
		my $found = join(' ', sort keys %{ $self->{found}{$number} || {} });
		my $expected = join(' ', @{ $canary->{places} });

		push @lines, "$canary->{what}: in [$found], expected in [$expected]"
		  if $found ne $expected;
	}
	return @lines;
}

sub count { return scalar @{ $_[0]{list} }; }

1;
