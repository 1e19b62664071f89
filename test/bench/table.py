#!/usr/bin/env python3
"""table.py RESULTS HEADING: the closing table of the benchmark.

RESULTS has lines of fields between tabs: part, server, contender, job, and what
was measured.  Ratios are to F0 on the same server (and, where there are rounds,
in the same round, of which the median is shown).
"""
import sys
from collections import defaultdict
from statistics import median

NAMES = [('plain', 'F0'), ('plain', 'F1'), ('plain', 'F2'), ('plain', 'provconn'),
         ('preloaded', 'F0'), ('preloaded', 'provconn')]


def name_of(server, contender):
    return contender + (', preloaded' if server == 'preloaded' and contender == 'provconn'
                        else ' (beside preloaded)' if server == 'preloaded' else '')


def heading(text):
    print('\n' + text)


def row(name, cells, width=17):
    print(('  %-36s' % name + ''.join(('%*s' % (width, cell)) for cell in cells)).rstrip())


def per_call(lines):
    """Of totals at two or more numbers of transactions, the slope between the outer two."""
    totals = defaultdict(dict)
    for server, contender, job, count, total in lines:
        totals[server, contender, job][int(count)] = int(total)
    slopes = {}
    for key, of in totals.items():
        if len(of) > 1:
            slopes[key] = (of[max(of)] - of[min(of)]) / (max(of) - min(of))
    return slopes


def show_instructions(lines):
    cost = per_call(lines)
    jobs = ['refresh', 'connect', 'read', 'disconnect']
    nothing = cost.get(('plain', 'ids', 'nothing'), 0)
    ids = {job: cost[job_ids] - nothing for job, job_ids in
           (('F0', ('plain', 'ids', 'cid_oid')), ('refresh', ('plain', 'ids', 'link')),
            ('connect', ('plain', 'ids', 'stranger')), ('read', ('plain', 'ids', 'link_user')),
            ('disconnect', ('plain', 'ids', 'link_user'))) if job_ids in cost}

    def table(without_ids):
        for server, contender in NAMES:
            cells = []
            for job in jobs:
                def of(who):
                    own = ids['F0' if who != 'provconn' else job] if without_ids else 0
                    return cost[server, who, job] - own
                if (server, contender, job) in cost:
                    cells.append('%.2f (%.0fk)' % (of(contender) / of('F0'), of(contender) / 1000))
            if cells:
                row(name_of(server, contender), cells)

    heading('INSTRUCTIONS PER CALL, ratio to F0 (thousands)')
    row('', jobs)
    table(False)
    if ids:
        heading('THE SAME without those that compute the ids from n')
        row('', jobs)
        table(True)
        row('ids of F0 to F2', ['%.0fk' % (ids['F0'] / 1000)] * 4)
        row('ids of provconn', ['%.0fk' % (ids[job] / 1000) for job in jobs])

    heading('OTHER FORMS of a refresh, instructions, ratio to F0 (thousands)')
    row('', ['plain', 'preloaded'])
    for job, text in (('refresh', 'SELECT (f(command(...))).ok'), ('refresh_whole', 'SELECT f(command(...))'), ('refresh_row', 'SELECT f(ROW(...)::...)'),
                      ('refresh_columns', 'SELECT ok, ... FROM f()'), ('refresh_from', 'SELECT * FROM f()'),
                      ('refresh_batch', 'batch of 100, each')):
        cells = []
        for server in ('plain', 'preloaded'):
            if (server, 'provconn', job) in cost:
                own = cost[server, 'provconn', job] / (100 if job == 'refresh_batch' else 1)
                cells.append('%.2f (%.0fk)' % (own / cost[server, 'F0', 'refresh'], own / 1000))
        row(text, cells)

    if ('plain', 'with_extension', 'refresh') in cost:
        heading('INSTRUCTIONS of who does not use the extension, which is ...')
        row('', ['not there', 'created', 'ratio'])
        for job, text in (('nothing', 'SELECT $1'), ('refresh', 'refresh of F0')):
            without, created = (cost['plain', database, job] for database in ('without_extension', 'with_extension'))
            row(text, ['%.0f' % without, '%.0f' % created, '%.4f' % (created / without)])


def show_throughput(lines):
    tps = {}
    latency = {}
    columns = []
    for server, contender, clients, sync, turn, rate, delay in lines:
        column = (sync, int(clients))
        if column not in columns:
            columns.append(column)
        tps[server, contender, column, turn] = float(rate)
        latency[server, contender, column, turn] = float(delay)
    turns = sorted({key[3] for key in tps})
    heading('REFRESHES A SECOND, median of the ratio to F0 (tps, average latency in ms); synchronous_commit/clients')
    row('', ['%s/%d' % column for column in columns], 24)
    for server, contender in NAMES:
        cells = []
        for column in columns:
            mine = [tps[server, contender, column, turn] for turn in turns if (server, contender, column, turn) in tps]
            if mine:
                ratio = median(tps[server, contender, column, turn] / tps[server, 'F0', column, turn] for turn in turns)
                late = median(latency[server, contender, column, turn] for turn in turns)
                cells.append('%.2f (%.0f, %.2f)' % (ratio, median(mine), late))
        if cells:
            row(name_of(server, contender), cells, 24)


def show_batch(lines):
    rate = defaultdict(dict)
    for server, contender, job, turn, value in lines:
        rate[contender, job][turn] = float(value)
    heading('CONNECTIONS REFRESHED A SECOND by one client, synchronous_commit on; median of the ratio to F0, single')
    row('', ['a second', 'ratio', 'to provconn, single'], 21)
    for (contender, job), mine in rate.items():
        row('%s, %s' % (contender, job),
            ['%.0f' % median(mine.values())] +
            ['%.2f' % median(value / rate[who, 'single'][turn] for turn, value in mine.items())
             for who in ('F0', 'provconn')], 21)


def show_space(lines):
    size = {(contender, job): float(value) for _, contender, job, value in lines}
    columns = [('connection', 'disk, connection'), ('audit', 'disk, audit row'),
               ('wal', 'WAL, no images'), ('wal_images', 'WAL, with images')]
    heading('BYTES, ratio to F0 (bytes): on disk after loading, each; WAL of a refresh without and with full page images')
    row('', [text for _, text in columns], 19)
    for contender in ('F0', 'F1', 'F2', 'provconn'):
        row(contender, ['%.2f (%.0f)' % (size[contender, job] / size['F0', job], size[contender, job])
                        for job, _ in columns if (contender, job) in size], 19)


def show_first(lines):
    times = defaultdict(list)
    for server, contender, job, value in lines:
        times[server, contender, job].append(float(value))
    heading('FIRST CALLS IN A NEW SESSION, median in ms as psql sees it')
    row('', ['plain', 'preloaded'])
    seen = []
    for _, contender, job in times:
        if (contender, job) not in seen:
            seen.append((contender, job))
    for contender, job in seen:
        row('%s: %s' % (contender, job),
            ['%.2f' % median(times[server, contender, job]) if (server, contender, job) in times else '-'
             for server in ('plain', 'preloaded')])


def show_memory(lines):
    size = {}
    points = []
    for server, contender, job, count, value in lines:
        size[server, contender, int(count)] = int(value)
        if int(count) not in points:
            points.append(int(count))
    points.sort()
    heading('MEMORY OF A BACKEND, private kB after so many refreshes')
    row('', ['%d' % point for point in points])
    for server, contender in NAMES:
        if (server, contender, points[0]) in size:
            row(name_of(server, contender), [size.get((server, contender, point), '-') for point in points])


def show_growth(lines):
    sizes = sorted({int(line[0]) for line in lines})
    cost = per_call(lines)
    heading('INSTRUCTIONS PER CALL as connections grow in number (thousands)')
    row('', ['%d' % size for size in sizes] + ['last / first'])
    seen = []
    for _, contender, job in cost:
        if (contender, job) not in seen:
            seen.append((contender, job))
    for contender, job in seen:
        of = [cost.get((str(size), contender, job)) for size in sizes]
        there = [value for value in of if value is not None]
        row('%s, %s' % (contender, job), ['-' if value is None else '%.0fk' % (value / 1000) for value in of] +
            ['%.3f' % (there[-1] / there[0])])


def main():
    parts = defaultdict(list)
    with open(sys.argv[1]) as results:
        for line in results:
            part, *fields = line.rstrip('\n').split('\t')
            parts[part].append(fields)
    print(sys.argv[2])
    for part, show in (('instructions', show_instructions), ('throughput', show_throughput), ('batch', show_batch),
                       ('space', show_space), ('first', show_first), ('memory', show_memory), ('growth', show_growth)):
        if parts[part]:
            show(parts[part])


if __name__ == '__main__':
    main()
