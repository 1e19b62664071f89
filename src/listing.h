/*
 * listing.h (layer 6): tables of audit rows on the page of a report.
 */
#ifndef PROVCONN_LISTING_H
#define PROVCONN_LISTING_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "model.h"

/* One of the user's connections, by its number on the page, from 1. */
typedef struct ProvconnListed
{
	char	   *id;
	char	   *alias;			/* NULL: none */
} ProvconnListed;

typedef struct ProvconnListing
{
	StringInfo	page;
	Datum		user;
	Datum		shard;
	const ProvconnListed *connections;
	int			connection_count;
	int			shown;			/* how many of them the page has a place for */
} ProvconnListing;

/* Which rows: those of a connection, or those of a kind. */
typedef struct ProvconnListingOf
{
	const char *kind;			/* as report_rows() has them; connection: of number */
	int			number;
	const char *caption;		/* markup */
	int64		count;			/* how many there are */
	int			limit;
} ProvconnListingOf;

/* Appends a table of the newest rows, with the connection of each unless they have one. */
extern void provconn_listing_put(const ProvconnListing *listing, const ProvconnListingOf *what);

/* Appends what a connection is called. */
extern void provconn_listing_name(const ProvconnListing *listing, int number);

/* Appends a number of things with commas. */
extern void provconn_listing_number(StringInfo page, int64 number);

#endif							/* PROVCONN_LISTING_H */
