/*
 * timeline.c (layer 3): the life of one connection as a picture, in SVG.
 *
 * On top a bar in the color of the status; below it a lane for each kind of
 * event that there was.  An event alone is a mark where it happened.  Time is
 * cut into BINS: events of one lane in one bin become a bar, the higher the more
 * they are, so a picture is bounded whatever happened.  A status too short to be
 * seen is left out of the bar; what began and ended it has marks.
 *
 * Across, everything is in hundredths of a percent of the width, so that marks
 * and letters keep their size on a narrow screen; lengths down are pixels.
 */
#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/datetime.h"

#include "markup.h"
#include "timeline.h"

#define WIDTH 10000
#define BINS 125
#define LEAST_SEGMENT 20
#define MAX_TICKS 6

#define BAR_TOP 6
#define BAR_HEIGHT 14
#define LANES_TOP 30
#define LANE_HEIGHT 24
#define AXIS_HEIGHT 22
#define MAX_NAMED 4

/* In a lane with a bar of more events than that an event alone is a bar as well. */
#define MARKED 3

typedef enum Lane
{
	LANE_BEGIN,
	LANE_REFRESH,
	LANE_READ,
	LANE_FAILURE,
	LANE_END,
	LANE_EDIT,
	LANE_DIRECT,
	LANE_REFUSED,
	LANE_ROLLED_BACK
} Lane;

#define LANE_COUNT 9

/* The shapes differ as the colors do, for who cannot tell colors. */
static const struct
{
	const char *label;
	const char *shape;
} lanes[LANE_COUNT] = {
	[LANE_BEGIN] = {"connected", "M0-5.5L5.5 4.5H-5.5z"},
	[LANE_REFRESH] = {"refreshed", "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z"},
	[LANE_READ] = {"read", "M0-6L6 0L0 6L-6 0z"},
	[LANE_FAILURE] = {"failed", "M0 5.5L-5.5-4.5H5.5z"},
	[LANE_END] = {"ended", "M-4.5-4.5h9v9h-9z"},
	[LANE_EDIT] = {"other", "M-5-2h10v4h-10z"},
	[LANE_DIRECT] = {"direct SQL", "M-2-6h4v4h4v4h-4v4h-4v-4h-4v-4h4z"},
	[LANE_REFUSED] = {"refused", "M-4.5-4.5L4.5 4.5M4.5-4.5L-4.5 4.5"},
	[LANE_ROLLED_BACK] = {"rolled back", "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0zM-4.5 0h9"},
};

static const struct
{
	const char *action;
	Lane		lane;
} action_lanes[] = {
	{"initiate", LANE_BEGIN},
	{"connect", LANE_BEGIN},
	{"reauthenticate", LANE_BEGIN},
	{"refresh", LANE_REFRESH},
	{"refresh_batch", LANE_REFRESH},
	{"record_sync", LANE_REFRESH},
	{"reveal", LANE_READ},
	{"claim_due", LANE_READ},
	{"report_failure", LANE_FAILURE},
	{"mark_failed", LANE_FAILURE},
	{"mark_expired", LANE_END},
	{"mark_revoked", LANE_END},
	{"expire_overdue", LANE_END},
	{"disconnect", LANE_END},
	{"erase_user", LANE_END},
	{"direct", LANE_DIRECT}};

static const char *const statuses[] = {"pending", "active", "expired", "revoked", "failed", "disconnected"};

typedef struct Mark
{
	TimestampTz time;
	const char *action;			/* one of the timeline's: the same action is the same pointer */
} Mark;

typedef struct Segment
{
	TimestampTz time;
	const char *status;
} Segment;

/* An array that grows. */
typedef struct Marks
{
	Mark	   *marks;
	int			count;
	int			room;
} Marks;

struct ProvconnTimeline
{
	MemoryContext context;
	TimestampTz from;
	TimestampTz to;
	List	   *actions;
	Marks		lanes[LANE_COUNT];
	Segment    *segments;
	int			segment_count;
	int			segment_room;
};

/* Between two ticks of the axis: so many microseconds, or so many months. */
typedef struct Step
{
	int64		time;
	int			months;
	ProvconnMarkupTime label;
} Step;

static Lane lane_of(const char *action, const char *outcome);
static const char *intern_action(ProvconnTimeline *timeline, const char *action);
static void add_segment(ProvconnTimeline *timeline, TimestampTz time, const char *status);
static int	place_of(const ProvconnTimeline *timeline, TimestampTz time);
static TimestampTz time_of(const ProvconnTimeline *timeline, int place);
static void draw_texts(const ProvconnTimeline *timeline, StringInfo page, int number, const char *name);
static void draw_axis(const ProvconnTimeline *timeline, StringInfo page, int bottom);
static void draw_tick(const ProvconnTimeline *timeline, StringInfo page, TimestampTz time,
					  const Step *step, int bottom, int index);
static Step choose_step(int64 span);
static TimestampTz first_tick(TimestampTz from, const Step *step);
static TimestampTz month_start(int64 month);
static void draw_segments(const ProvconnTimeline *timeline, StringInfo page);
static void draw_lane(const ProvconnTimeline *timeline, StringInfo page, Lane lane, int middle);
static int	bin_end(const ProvconnTimeline *timeline, const Marks *marks, int first);
static void draw_bar(const ProvconnTimeline *timeline, StringInfo page, const Mark *marks, int count,
					 int most, int middle);
static void name_actions(StringInfo page, const Mark *marks, int count);
static void append_percent(StringInfo page, int place);

ProvconnTimeline *
provconn_timeline_begin(TimestampTz from, TimestampTz to)
{
	ProvconnTimeline *timeline = palloc0(sizeof(ProvconnTimeline));

	timeline->context = CurrentMemoryContext;
	timeline->from = from;
	timeline->to = Max(to, from + USECS_PER_SEC);
	return timeline;
}

void
provconn_timeline_add(ProvconnTimeline *timeline, TimestampTz time, const char *action,
					  const char *outcome, const char *status)
{
	MemoryContext caller = MemoryContextSwitchTo(timeline->context);
	Marks	   *marks = &timeline->lanes[lane_of(action, outcome)];

	if (marks->count == marks->room)
	{
		marks->room = Max(16, marks->room * 2);
		marks->marks = marks->marks == NULL ? palloc(marks->room * sizeof(Mark)) :
			repalloc(marks->marks, marks->room * sizeof(Mark));
	}
	marks->marks[marks->count].time = time;
	marks->marks[marks->count].action = intern_action(timeline, action);
	marks->count++;
	if (status != NULL)
		add_segment(timeline, time, status);
	MemoryContextSwitchTo(caller);
}

void
provconn_timeline_draw(const ProvconnTimeline *timeline, StringInfo page, int number, const char *name)
{
	int			lane_count = 0;
	int			bottom;

	for (int i = 0; i < LANE_COUNT; i++)
		lane_count += timeline->lanes[i].count > 0;
	bottom = LANES_TOP + lane_count * LANE_HEIGHT;

	appendStringInfo(page, "<svg class=\"life\" role=\"img\" aria-labelledby=\"t%d d%d\" width=\"100%%\" height=\"%d\">\n",
					 number, number, bottom + AXIS_HEIGHT);
	draw_texts(timeline, page, number, name);
	draw_axis(timeline, page, bottom);
	draw_segments(timeline, page);
	lane_count = 0;
	for (int i = 0; i < LANE_COUNT; i++)
		if (timeline->lanes[i].count > 0)
			draw_lane(timeline, page, i, LANES_TOP + LANE_HEIGHT / 2 + LANE_HEIGHT * lane_count++);
	appendStringInfoString(page, "</svg>\n");
}

void
provconn_timeline_shapes(StringInfo page)
{
	appendStringInfoString(page, "<svg class=\"shapes\" width=\"0\" height=\"0\" aria-hidden=\"true\"><defs>\n");
	for (int i = 0; i < LANE_COUNT; i++)
		appendStringInfo(page, "<path id=\"k%d\" d=\"%s\"/>\n", i, lanes[i].shape);
	appendStringInfoString(page, "</defs></svg>\n");
}

void
provconn_timeline_legend(const ProvconnTimeline *timeline, StringInfo page)
{
	appendStringInfoString(page, "<ul class=\"legend\">");
	for (size_t i = 0; i < lengthof(statuses); i++)
		for (int k = 0; k < timeline->segment_count; k++)
			if (strcmp(timeline->segments[k].status, statuses[i]) == 0)
			{
				appendStringInfo(page, "<li><i class=\"s-%s\"></i>%s</li>", statuses[i], statuses[i]);
				break;
			}
	appendStringInfoString(page, "</ul>");
}

static Lane
lane_of(const char *action, const char *outcome)
{
	if (strcmp(outcome, "rolled_back") == 0)
		return LANE_ROLLED_BACK;
	if (strcmp(outcome, "succeeded") != 0)
		return LANE_REFUSED;
	for (size_t i = 0; i < lengthof(action_lanes); i++)
		if (strcmp(action_lanes[i].action, action) == 0)
			return action_lanes[i].lane;
	return LANE_EDIT;
}

static const char *
intern_action(ProvconnTimeline *timeline, const char *action)
{
	ListCell   *cell;

	foreach(cell, timeline->actions)
		if (strcmp(lfirst(cell), action) == 0)
			return lfirst(cell);
	timeline->actions = lappend(timeline->actions, pstrdup(action));
	return llast(timeline->actions);
}

/* What would be too narrow to be seen gives way to what follows it. */
static void
add_segment(ProvconnTimeline *timeline, TimestampTz time, const char *status)
{
	Segment    *last = timeline->segment_count > 0 ? &timeline->segments[timeline->segment_count - 1] : NULL;
	const char *known = NULL;

	for (size_t i = 0; i < lengthof(statuses); i++)
		if (strcmp(statuses[i], status) == 0)
			known = statuses[i];
	if (known == NULL || (last != NULL && last->status == known))
		return;
	if (last != NULL && place_of(timeline, time) - place_of(timeline, last->time) < LEAST_SEGMENT)
	{
		last->status = known;
		if (timeline->segment_count > 1 && last[-1].status == known)
			timeline->segment_count--;
		return;
	}
	if (timeline->segment_count == timeline->segment_room)
	{
		timeline->segment_room = Max(16, timeline->segment_room * 2);
		timeline->segments = timeline->segments == NULL ?
			palloc(timeline->segment_room * sizeof(Segment)) :
			repalloc(timeline->segments, timeline->segment_room * sizeof(Segment));
	}
	timeline->segments[timeline->segment_count].time = time;
	timeline->segments[timeline->segment_count].status = known;
	timeline->segment_count++;
}

static int
place_of(const ProvconnTimeline *timeline, TimestampTz time)
{
	double		part = (double) (time - timeline->from) / (double) (timeline->to - timeline->from);

	return (int) (Min(Max(part, 0.0), 1.0) * WIDTH);
}

static TimestampTz
time_of(const ProvconnTimeline *timeline, int place)
{
	return timeline->from + (TimestampTz) ((double) (timeline->to - timeline->from) / WIDTH * place);
}

/* For who cannot see it. */
static void
draw_texts(const ProvconnTimeline *timeline, StringInfo page, int number, const char *name)
{
	appendStringInfo(page, "<title id=\"t%d\">Timeline of ", number);
	provconn_markup_text(page, name);
	appendStringInfo(page, "</title>\n<desc id=\"d%d\">From ", number);
	provconn_markup_time(page, timeline->from, PROVCONN_MARKUP_TIME);
	appendStringInfoString(page, " to ");
	provconn_markup_time(page, timeline->to, PROVCONN_MARKUP_TIME);
	appendStringInfoString(page, " UTC.");
	for (int i = 0; i < LANE_COUNT; i++)
		if (timeline->lanes[i].count > 0)
			appendStringInfo(page, " %s: %d.", lanes[i].label, timeline->lanes[i].count);
	if (timeline->segment_count > 0)
		appendStringInfo(page, " In the end: %s.",
						 timeline->segments[timeline->segment_count - 1].status);
	appendStringInfoString(page, "</desc>\n");
}

static void
draw_axis(const ProvconnTimeline *timeline, StringInfo page, int bottom)
{
	Step		step = choose_step(timeline->to - timeline->from);
	TimestampTz time = first_tick(timeline->from, &step);

	appendStringInfo(page, "<g class=\"axis\"><line x1=\"0\" x2=\"100%%\" y1=\"%d\" y2=\"%d\"/>\n", bottom, bottom);
	for (int i = 0; i <= MAX_TICKS + 1 && time <= timeline->to; i++)
	{
		draw_tick(timeline, page, time, &step, bottom, i);
		time = first_tick(time + 1, &step);
	}
	appendStringInfoString(page, "</g>\n");
}

static void
draw_tick(const ProvconnTimeline *timeline, StringInfo page, TimestampTz time, const Step *step,
		  int bottom, int index)
{
	int			place = place_of(timeline, time);

	appendStringInfoString(page, index % 2 == 1 ? "<g class=\"odd\"><line x1=\"" : "<g><line x1=\"");
	append_percent(page, place);
	appendStringInfoString(page, "\" x2=\"");
	append_percent(page, place);
	appendStringInfo(page, "\" y1=\"0\" y2=\"%d\"/><text x=\"", bottom + 4);
	append_percent(page, place);
	appendStringInfo(page, "\" y=\"%d\"%s>", bottom + 17, place > WIDTH * 95 / 100 ? " class=\"end\"" : "");
	provconn_markup_time(page, time, step->label);
	appendStringInfoString(page, "</text></g>\n");
}

static Step
choose_step(int64 span)
{
	static const int seconds[] = {
		1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200,
		SECS_PER_DAY, 2 * SECS_PER_DAY, 7 * SECS_PER_DAY, 14 * SECS_PER_DAY};
	static const int months[] = {1, 2, 3, 6, 12, 24, 60, 120, 600, 1200, 12000};
	Step		step = {0, 0, PROVCONN_MARKUP_MONTH};

	for (size_t i = 0; i < lengthof(seconds); i++)
		if (span / seconds[i] / USECS_PER_SEC < MAX_TICKS)
		{
			step.time = seconds[i] * USECS_PER_SEC;
			step.label = seconds[i] < 60 ? PROVCONN_MARKUP_SECOND :
				seconds[i] < SECS_PER_DAY ? PROVCONN_MARKUP_MINUTE :
				PROVCONN_MARKUP_DAY;
			return step;
		}
	for (size_t i = 0; i < lengthof(months); i++)
	{
		step.months = months[i];
		if (span / USECS_PER_DAY / 30 / months[i] < MAX_TICKS)
			break;
	}
	if (step.months >= MONTHS_PER_YEAR)
		step.label = PROVCONN_MARKUP_YEAR;
	return step;
}

/* The first tick at that time or later. */
static TimestampTz
first_tick(TimestampTz from, const Step *step)
{
	struct pg_tm tm;
	fsec_t		fraction;
	int64		month;

	if (step->months == 0)
	{
		int64		before = from % step->time;

		return before == 0 ? from : from - before + (before > 0 ? step->time : 0);
	}
	if (timestamp2tm(from, NULL, &tm, &fraction, NULL, NULL) != 0)
		elog(ERROR, "timestamp out of range");
	month = (int64) tm.tm_year * MONTHS_PER_YEAR + tm.tm_mon - 1;
	if (month_start(month) < from)
		month++;
	month += (step->months - month % step->months) % step->months;
	return month_start(month);
}

static TimestampTz
month_start(int64 month)
{
	return ((TimestampTz) date2j((int) (month / MONTHS_PER_YEAR), (int) (month % MONTHS_PER_YEAR) + 1, 1) -
			POSTGRES_EPOCH_JDATE) *
		USECS_PER_DAY;
}

static void
draw_segments(const ProvconnTimeline *timeline, StringInfo page)
{
	appendStringInfo(page, "<text class=\"lane\" x=\"-10\" y=\"%d\">status</text>\n", BAR_TOP + BAR_HEIGHT - 3);
	for (int i = 0; i < timeline->segment_count; i++)
	{
		const Segment *segment = &timeline->segments[i];
		TimestampTz end = i + 1 < timeline->segment_count ? segment[1].time : timeline->to;
		int			place = place_of(timeline, segment->time);

		appendStringInfo(page, "<rect class=\"s-%s\" x=\"", segment->status);
		append_percent(page, place);
		appendStringInfoString(page, "\" width=\"");
		append_percent(page, Max(place_of(timeline, end) - place, LEAST_SEGMENT));
		appendStringInfo(page, "\" y=\"%d\" height=\"%d\"><title>%s from ", BAR_TOP, BAR_HEIGHT, segment->status);
		provconn_markup_time(page, segment->time, PROVCONN_MARKUP_TIME);
		appendStringInfoString(page, " UTC</title></rect>\n");
	}
}

static void
draw_lane(const ProvconnTimeline *timeline, StringInfo page, Lane lane, int middle)
{
	const Marks *marks = &timeline->lanes[lane];
	int			most = 0;

	for (int first = 0, end; first < marks->count; first = end)
	{
		end = bin_end(timeline, marks, first);
		most = Max(most, end - first);
	}
	appendStringInfo(page, "<text class=\"lane\" x=\"-10\" y=\"%d\">%s <tspan>%d</tspan></text>\n<g class=\"m%d\">",
					 middle + 4, lanes[lane].label, marks->count, lane);
	for (int first = 0, end; first < marks->count; first = end)
	{
		end = bin_end(timeline, marks, first);
		if (end - first > 1 || most > MARKED)
		{
			draw_bar(timeline, page, &marks->marks[first], end - first, most, middle);
			continue;
		}
		appendStringInfo(page, "<use href=\"#k%d\" x=\"", lane);
		append_percent(page, place_of(timeline, marks->marks[first].time));
		appendStringInfo(page, "\" y=\"%d\"><title>", middle);
		provconn_markup_time(page, marks->marks[first].time, PROVCONN_MARKUP_TIME);
		appendStringInfoChar(page, ' ');
		provconn_markup_text(page, marks->marks[first].action);
		appendStringInfoString(page, "</title></use>\n");
	}
	appendStringInfoString(page, "</g>\n");
}

/* Where the marks end that share a bin with that one. */
static int
bin_end(const ProvconnTimeline *timeline, const Marks *marks, int first)
{
	int			bin = place_of(timeline, marks->marks[first].time) * BINS / WIDTH;
	int			end = first + 1;

	while (end < marks->count && place_of(timeline, marks->marks[end].time) * BINS / WIDTH == bin)
		end++;
	return end;
}

static void
draw_bar(const ProvconnTimeline *timeline, StringInfo page, const Mark *marks, int count, int most,
		 int middle)
{
	int			bin = place_of(timeline, marks->time) * BINS / WIDTH;
	int			place = bin * WIDTH / BINS;
	int			height = 6 + (LANE_HEIGHT - 8) * count / most;

	bin = Min(bin, BINS - 1);
	place = bin * WIDTH / BINS;
	height = Min(height, LANE_HEIGHT - 4);
	appendStringInfoString(page, "<rect x=\"");
	append_percent(page, place);
	appendStringInfoString(page, "\" width=\"");
	append_percent(page, WIDTH / BINS - 10);
	appendStringInfo(page, "\" y=\"%d\" height=\"%d\"><title>", middle + (LANE_HEIGHT - 4) / 2 - height, height);
	provconn_markup_time(page, time_of(timeline, place), PROVCONN_MARKUP_TIME);
	appendStringInfo(page, " and after: %d", count);
	name_actions(page, marks, count);
	appendStringInfoString(page, "</title></rect>\n");
}

/* How many of which, for the first few actions. */
static void
name_actions(StringInfo page, const Mark *marks, int count)
{
	const char *names[MAX_NAMED];
	int			counts[MAX_NAMED] = {0};
	int			known = 0;

	for (int i = 0; i < count; i++)
	{
		int			k = 0;

		while (k < known && names[k] != marks[i].action)
			k++;
		if (k == MAX_NAMED)
			continue;
		if (k == known)
			names[known++] = marks[i].action;
		counts[k]++;
	}
	for (int k = 0; k < known; k++)
	{
		appendStringInfoString(page, k == 0 ? " (" : ", ");
		provconn_markup_text(page, names[k]);
		if (known > 1)
			appendStringInfo(page, " %d", counts[k]);
	}
	appendStringInfoChar(page, ')');
}

static void
append_percent(StringInfo page, int place)
{
	appendStringInfo(page, "%d.%02d%%", place / 100, place % 100);
}
