/*
 * timeline.h (layer 3): the life of one connection as a picture, in SVG.
 */
#ifndef PROVCONN_TIMELINE_H
#define PROVCONN_TIMELINE_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/timestamp.h"

typedef struct ProvconnTimeline ProvconnTimeline;

/* A picture of the time from one moment to a later one, in the current memory context. */
extern ProvconnTimeline *provconn_timeline_begin(TimestampTz from, TimestampTz to);

/*
 * Adds an event, none earlier than the one before; status is what the
 * connection was in afterwards, NULL where that stayed the same.
 */
extern void provconn_timeline_add(ProvconnTimeline *timeline, TimestampTz time, const char *action,
								  const char *outcome, const char *status);

/*
 * Appends the picture: its size does not grow with the number of events beyond a
 * bound.  What number it has on the page makes its ids; name stands in its
 * description.
 */
extern void provconn_timeline_draw(const ProvconnTimeline *timeline, StringInfo page, int number,
								   const char *name);

/* Appends the shapes that the pictures of a page refer to. */
extern void provconn_timeline_shapes(StringInfo page);

/* Appends what the colors of the statuses in the picture mean. */
extern void provconn_timeline_legend(const ProvconnTimeline *timeline, StringInfo page);

#endif							/* PROVCONN_TIMELINE_H */
