# ProvconnTable: a table of doc/security.md that a test makes from what it saw.
#
# Rows are channels out of the server, columns ways in for a secret.  A cell has
# one observation or more, one for each function that was tried: a canary and the
# places it would be found in, or a plain yes or no.  A cell is "leaks" when any of
# them was found, "no" when none was, and a dash where nothing was tried.  The table
# has one row for all functions, so that they have to agree.
#
# A row has a control: something ordinary, no secret, that took the same way and has
# to be found, or the search proves nothing.
#
# What leaks from a major version of PostgreSQL on only is marked, not told by
# version: the table is the same wherever the test is run.  What leaks only in one of
# the ways in which a statement was sent is marked, too.

package ProvconnTable;

use strict;
use warnings;

use Test::More;

use constant SUPERSCRIPTS => ('¹', '²', '³', '⁴');
use constant WAYS => (simple => 'the simple protocol', extended => 'the extended protocol', execute => '`EXECUTE`');

# %opt:
#   name      of the block in the document: "<!-- name: begin -->"
#   canaries  a ProvconnCanary
#   head      heading of the first column
#   columns   array of [key, heading]
#   major     of the server
sub new
{
	my ($class, %opt) = @_;

	return bless { rows => [], row => {}, marks => [], %opt }, $class;
}

# A row is named once or more; since: { column => major version } for what leaks only
# from there on.
sub row
{
	my ($self, $label, %since) = @_;
	my $row = $self->{row}{$label};

	if (!$row)
	{
		$row = $self->{row}{$label} = { label => $label, cells => {}, controls => [], since => {} };
		push @{ $self->{rows} }, $row;
	}
	$row->{since}{$_} = $since{$_} for keys %since;
	return $row;
}

# An observation: a canary and its places, or, without places, true or false.
sub saw
{
	my ($self, $row, $column, $way, $who, $what, @places) = @_;

	push @{ $row->{cells}{$column} }, { way => $way, who => $who, what => $what, places => [@places] };
	return;
}

sub saw_control
{
	my ($self, $row, $what, @places) = @_;

	push @{ $row->{controls} }, { what => $what, places => [@places] };
	return;
}

sub is_found
{
	my ($self, $observation) = @_;

	return $observation->{what} ? 1 : 0 if !@{ $observation->{places} };
	return (grep { $self->{canaries}->is_found($observation->{what}, $_) } @{ $observation->{places} }) ? 1 : 0;
}

# Tests that functions agree, that controls were found, and that the document has
# the table; with PROVCONN_UPDATE_DOC the file that it names is given the table.
sub check
{
	my ($self, $path) = @_;
	my $update = $ENV{PROVCONN_UPDATE_DOC};
	my $block = $self->render;

	for my $row (@{ $self->{rows} })
	{
		ok(scalar(grep { $self->is_found($_) } @{ $row->{controls} }), "$row->{label}: the control is found");
		for my $column (map { $_->[0] } @{ $self->{columns} })
		{
			my @cell = @{ $row->{cells}{$column} || [] };

			for my $way (sort keys %{ { map { $_->{way} => 1 } @cell } })
			{
				$self->check_agreement("$row->{label}, $column, $way", grep { $_->{way} eq $way } @cell);
			}
		}
	}

	my $text = slurp($update || $path);
	my ($begin, $end) = map { "<!-- $self->{name}: $_ -->\n" } 'begin', 'end';
	my $told = $text =~ /\Q$begin\E(.*)\Q$end\E/s ? $1 : undef;
	if ($update)
	{
		$text =~ s/(\Q$begin\E).*(\Q$end\E)/$1\n$block\n$2/s or die "$update has no block \"$self->{name}\"\n";
		open(my $file, '>:raw', $update) or die "$update: $!\n";
		print $file $text;
		close($file) or die "$update: $!\n";
		pass("$self->{name}: written");
		return;
	}
	is($told, "\n$block\n", "$self->{name}: the document has what was seen")
	  or diag("PROVCONN_UPDATE_DOC=$path writes it");
	return;
}

sub check_agreement
{
	my ($self, $what, @cell) = @_;
	my @found = grep { $self->is_found($_) } @cell;

	ok(@found == 0 || @found == @cell, "$what: functions agree")
	  or diag('it leaks for ' . join('; ', map { $_->{who} } @found) . ', but not for '
		  . join('; ', map { $_->{who} } grep { !$self->is_found($_) } @cell));
	return;
}

# The table in Markdown, with its footnotes.
sub render
{
	my ($self) = @_;
	my @columns = @{ $self->{columns} };
	my @lines = (
		'| ' . join(' | ', $self->{head}, map { $_->[1] } @columns) . ' |',
		'|' . '---|' x (1 + @columns));

	$self->{marks} = [];
	push @lines, '| ' . join(' | ', $_->{label}, $self->cells($_)) . ' |' for @{ $self->{rows} };
	my @marks = @{ $self->{marks} };
	push @lines, '', join("  \n", map { (SUPERSCRIPTS)[$_] . " $marks[$_]" } 0 .. $#marks) if @marks;
	return join("\n", @lines) . "\n";
}

sub cells
{
	my ($self, $row) = @_;

	return map {
		my @cell = @{ $row->{cells}{ $_->[0] } || [] };
		my $since = $row->{since}{ $_->[0] };
		my $leaks = grep { $self->is_found($_) } @cell;
		my %ways = map { $_->{way} => 1 } @cell;
		my @leaking = sort keys %{ { map { $_->{way} => 1 } grep { $self->is_found($_) } @cell } };

		  !@cell ? '–'
		: $since && ($self->{major} >= $since ? $leaks : !$leaks) ? 'leaks ' . $self->mark("From PostgreSQL $since on.")
		: !$leaks                                                 ? 'no'
		: @leaking < keys %ways ? 'leaks ' . $self->mark('By ' . join(' and ', map { +{ +WAYS }->{$_} } @leaking) . ' only.')
		: 'leaks';
	} @{ $self->{columns} };
}

# The sign of a footnote.
sub mark
{
	my ($self, $text) = @_;
	my $marks = $self->{marks};

	push @$marks, $text if !grep { $_ eq $text } @$marks;
	my ($number) = grep { $marks->[$_] eq $text } 0 .. $#$marks;
	return (SUPERSCRIPTS)[$number];
}

sub slurp
{
	my ($path) = @_;

	open(my $file, '<:raw', $path) or die "$path: $!\n";
	local $/;
	my $text = <$file>;
	close($file);
	return $text;
}

1;
