# What schedules mean by another implementation: croniter, and Python's own time zones.
#
#   python3 cron_oracle.py                 prints lines for COPY
#
# Each line has a schedule, a time zone, day_match, the beginning and the end of a span of time, and
# the occurrences in it, in seconds since 1970. croniter only says what the fields mean: it is asked
# for dates without a zone, and the rules of daylight saving are applied to them here, from
# zoneinfo, in another way than bgjob does it (each date by itself, not by walking along).
#
# Where bgjob and croniter (1.3 to 6) differ, and what is done about it:
#   * croniter has the second last: the fields are turned.
#   * ranges that wrap are refused by older ones: written as lists for it (WRITTEN below).
#   * "FRIL" is "L5" there.
#   * with day_match 'any', "*/2" counts as restricted there, unlike in Vixie's cron: then it is asked
#     for both fields to match (day_or=False), which is what bgjob says of a field that begins with a star.
#   * L-3, LW, 15W, $, H, intervals and most macros are not there, or mean something else: left out.
#   * croniter's own way with daylight saving is another one: not used.
import re
import sys
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from croniter import croniter

ZONES = ['UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kathmandu', 'Africa/Casablanca']

TIMES = ['* *', '*/5 *', '*/15 9-17', '0 *', '30 2', '0,30 2,3', '15 1-4', '10-40/3 */6', '5/15 *', '*/30 22-2', '45 1',
         '0 0', '59 23', '*/7 0-23/5', '20-30 2', '1,2,3,58-59 0,12', '0 2', '0 3', '0-59/20 2', '? 2']

DATES = ['* * *', '1 * *', '*/2 * *', 'L * *', '1,15,L * *', '31 * *', '29 2 *', '10-20/2 * *', '28-3 * *', '* 1-3 *', '* NOV-FEB *',
         '* */3 MON', '* * MON-FRI', '* * FRI-MON', '* * 0', '* * 7', '* * 5-7', '* * mon#2', '* * MON#1,MON#3', '* * FRIL',
         '13 * FRI', '*/2 * MON', '1 * */2', '1-7 * MON', '30 2 *', '? JAN,jul sun', '15 6 WED']

SECONDS = ['*/10 * * * * *', '0,30 */5 * * * *', '15 30 2 * * *', '59 59 23 L * *', '5/20 0-10 1-3 * * 1-5', '* 59 1 * * *']

# What croniter is to read instead of some words.
WRITTEN = {'22-2': '22,23,0,1,2', '28-3': '28,29,30,31,1,2,3', 'NOV-FEB': '11,12,1,2', 'FRI-MON': '5,6,0,1', '5-7': '5,6,0', '7': '0',
           'FRIL': 'L5', '?': '*'}

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


def for_croniter(schedule):
    words = [WRITTEN.get(word, word) for word in schedule.split()]
    return ' '.join(words[1:] + words[:1] if len(words) == 6 else words).lower()


def is_interval(schedule):
    words = schedule.split()
    return any(re.search(r'[*?/-]', word) for word in words[:len(words) - 3])


def dates(schedule, day_match, start, end, limit):
    """The dates without a zone from start to end, and the end, which is earlier if there are too many."""
    day, weekday = schedule.split()[-3], schedule.split()[-1]
    either = day_match == 'any' and day[0] not in '*?' and weekday[0] not in '*?'
    found = []
    try:
        iterator = croniter(for_croniter(schedule), start - SECOND, day_or=either)
        while True:
            date = iterator.get_next(datetime)
            if date > end:
                return found, end
            found.append(date)
            if len(found) == limit:
                end = datetime(date.year, date.month, date.day, 12) - DAY
                return [d for d in found if d <= end], end
    except Exception as error:    # what never comes is an error there
        if 'BadDate' not in type(error).__name__:
            raise
        return found, end


def instant(date, zone, fold):
    offset = date.replace(tzinfo=zone, fold=fold).utcoffset()
    return (date - offset).replace(tzinfo=timezone.utc)


def end_of_gap(date, zone):
    """The instant at which the clock jumps over a date."""
    late, early = instant(date, zone, 0), instant(date, zone, 1)
    after = late.astimezone(zone).utcoffset()
    while late - early > SECOND:
        middle = early + (late - early) // 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == after:
            late = middle
        else:
            early = middle
    return late


def instants(date, zone, interval):
    first, second = instant(date, zone, 0), instant(date, zone, 1)
    if first.astimezone(zone).replace(tzinfo=None) != date:
        return [end_of_gap(date, zone)]
    return [first, second] if interval else [first]


def spans(schedule):
    """From when to when, and how many at most: no end is near a change of the clock in ZONES."""
    if len(schedule.split()) == 6:
        for day in [(2024, 3, 10), (2024, 3, 31), (2024, 4, 7), (2024, 10, 6), (2024, 10, 27), (2024, 11, 3)]:
            yield datetime(*day, 0, 40), datetime(*day, 4, 10), 3000
    else:
        for day in [(2024, 3, 10), (2024, 3, 31), (2024, 4, 7), (2024, 10, 6), (2024, 10, 27), (2024, 11, 3)]:
            yield datetime(*day) - timedelta(hours=4), datetime(*day, 6), 3000
    yield datetime(2023, 1, 2, 12), datetime(2027, 12, 28, 12), 2500


def cases():
    for i, date in enumerate(DATES):
        for j, time in enumerate(TIMES):
            if (i + j) % 3 == 0 or j == 4:
                yield time + ' ' + date, 'all' if (i + j) % 2 else 'any'
    for schedule in SECONDS:
        yield schedule, 'any'


def main():
    zones = [(name, ZoneInfo(name)) for name in ZONES]
    for schedule, day_match in cases():
        interval = is_interval(schedule)
        for start, end, limit in spans(schedule):
            found, end = dates(schedule, day_match, start, end, limit)
            if end <= start:
                continue
            for name, zone in zones:
                times = sorted({int(t.timestamp()) for date in found for t in instants(date, zone, interval)})
                since, until = int(instant(start, zone, 0).timestamp()), int(instant(end, zone, 0).timestamp())
                print(schedule, name, day_match, since, until, '{' + ','.join(map(str, times)) + '}', sep='\t')


main()
sys.stdout.flush()
