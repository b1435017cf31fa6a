/*-------------------------------------------------------------------------
 *
 * rate_random.c
 *	  Random spending under random rates (rules/rate), compared with a simple model.
 *
 * The model remembers all spendings and adds them up again at each question. It shares no code with the
 * tested files. The numbers are the same in every run.
 *
 *-------------------------------------------------------------------------
 */
#include "rules/rate.h"
#include "tap.h"

#define S INT64_C(1000000)

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

static const BgjobRateAlgorithm algorithms[] = {
	BGJOB_RATE_FIXED_WINDOW, BGJOB_RATE_SLIDING_WINDOW, BGJOB_RATE_TOKEN_BUCKET};
static const char *const names[] = {"none", "fixed window", "sliding window", "token bucket"};

static uint64_t random_state = 18;

/* A number from 0 to n - 1. */
static int64_t
dice(int64_t n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (int64_t) ((random_state >> 2 ^ random_state >> 33) % (uint64_t) n);
}

static int64_t
pick(const int64_t *numbers, int n)
{
	return numbers[dice(n)];
}

#define PICK(...)                                                                              \
	pick((const int64_t[]){__VA_ARGS__}, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

static bool
verdict(bool right, BgjobRateAlgorithm algorithm, const char *what)
{
	char text[200];

	snprintf(text, sizeof text, "%s: %s", names[algorithm], what);
	return is_true(right, text);
}

/*
 * The model: all spendings, in the order of their times.
 */
#define SPENT_MAX 20000

typedef struct Spent
{
	int64_t time;
	int64_t units;
} Spent;

static Spent spent[SPENT_MAX];
static int spendings;

static void
model_spend(int64_t time, int64_t units)
{
	spent[spendings++] = (Spent){time, units};
}

/* The units that were spent after a time. */
static int64_t
model_sum(int64_t after)
{
	int64_t sum = 0;

	for (int i = spendings - 1; i >= 0 && spent[i].time > after; i--)
		sum += spent[i].units;
	return sum;
}

/* The beginning of a fixed window. */
static int64_t
window(const BgjobRate *rate, int64_t time)
{
	int64_t number = time / rate->per;

	while (number * rate->per > time)
		number--;
	return number * rate->per;
}

/* The debt of a bucket, in microseconds times units. The numbers of this file are small. */
static int64_t
model_debt(const BgjobRate *rate, int64_t now)
{
	int64_t debt = 0;

	for (int i = 0; i < spendings; i++)
	{
		debt += spent[i].units * rate->per;
		debt -= rate->units * ((i + 1 < spendings ? spent[i + 1].time : now) - spent[i].time);
		debt = MAX(debt, 0);
	}
	return debt;
}

static int64_t
model_used(const BgjobRate *rate, int64_t now)
{
	if (rate->algorithm == BGJOB_RATE_FIXED_WINDOW)
		return model_sum(window(rate, now) - 1);
	if (rate->algorithm == BGJOB_RATE_SLIDING_WINDOW)
		return model_sum(now - rate->per);
	return (model_debt(rate, now) + rate->per - 1) / rate->per;
}

/* What may count at most, where spans of a sliding window leave late. */
static int64_t
model_used_at_most(const BgjobRate *rate, int64_t now)
{
	BgjobRate longer = *rate;

	if (rate->algorithm != BGJOB_RATE_SLIDING_WINDOW || rate->units <= 128)
		return model_used(rate, now);
	longer.per += rate->per / 128;
	return model_used(&longer, now);
}

/* Forgets what is too old for the model to need it, so that it stays fast: for a bucket, only if it is full. */
static void
model_forget(const BgjobRate *rate, int64_t now)
{
	if (spendings > 500 && rate->algorithm != BGJOB_RATE_TOKEN_BUCKET &&
		spent[spendings - 300].time < now - 3 * rate->per)
	{
		for (int i = 0; i < 300; i++)
			spent[i] = spent[spendings - 300 + i];
		spendings = 300;
	}
}

/* Whether "when" is exact. */
static bool
when_is_exact(const BgjobUse *use, const BgjobRate *rate, int64_t now)
{
	int units = (int) dice(rate->units + 2);
	int64_t when = bgjob_rate_when(use, rate, units, now);
	int enough = MIN(units, rate->units);

	return when >= now && bgjob_rate_free(use, rate, when) >= enough &&
		   (when == now || bgjob_rate_free(use, rate, when - 1) < enough);
}

static BgjobRate
random_rate(BgjobRateAlgorithm algorithm)
{
	return (BgjobRate){algorithm, (int) PICK(1, 2, 3, 10, 100, 128, 129, 1000, 5000),
					   PICK(1, 5, 127, 128, 1000, 999983, S, 60 * S)};
}

/* A pause between two spendings: none, short, or long; on average so that the rate binds. */
static int64_t
random_pause(const BgjobRate *rate)
{
	switch (dice(8))
	{
		case 0:
		case 1:
			return 0;
		case 2:
			return dice(2);
		case 3:
			return dice(rate->per + 2);
		default:
			return dice(2 * (rate->per / rate->units) + 2);
	}
}

static int
random_units(const BgjobRate *rate)
{
	return 1 + (int) dice(dice(4) == 0 ? rate->units : MIN(rate->units, 3));
}

/*
 * Whoever finds enough units free spends them. The model must agree at each step; so nothing is spent beyond
 * the rate in any interval, since each ends with a spending.
 */
static void
test_as_model(BgjobRateAlgorithm algorithm)
{
	bool never_above = true;
	bool exact = true;
	bool when_exact = true;
	bool clear = true;

	for (int round = 0; round < 60; round++)
	{
		BgjobRate rate = random_rate(algorithm);
		BgjobUse use = {0};
		int64_t now = dice(100) * S - 50 * S;

		spendings = 0;
		for (int i = 0; i < 1000; i++)
		{
			int units = random_units(&rate);
			int64_t used;

			now += random_pause(&rate);
			model_forget(&rate, now);
			used = bgjob_rate_used(&use, &rate, now);
			exact = exact && used >= model_used(&rate, now) &&
					used <= model_used_at_most(&rate, now) &&
					bgjob_rate_free(&use, &rate, now) == MAX(rate.units - used, 0);
			clear = clear && bgjob_rate_is_clear(&use, &rate, now) == (used == 0);
			when_exact = when_exact && when_is_exact(&use, &rate, now);
			if (bgjob_rate_free(&use, &rate, now) >= units)
			{
				bgjob_rate_spend(&use, &rate, units, now);
				model_spend(now, units);
				never_above = never_above && model_used(&rate, now) <= rate.units;
			}
			if (clear && dice(10) == 0 && bgjob_rate_is_clear(&use, &rate, now))
				use = (BgjobUse){0};
		}
	}
	verdict(never_above, algorithm, "never above");
	verdict(exact, algorithm, "as much is used as the model says");
	verdict(when_exact, algorithm, "the time at which units are free is exact");
	verdict(clear, algorithm, "clear when nothing counts");
}

/* Bursts beyond the rate: debts, more entries than there is room for. */
static void
test_debt(BgjobRateAlgorithm algorithm)
{
	bool counted = true;
	bool when_exact = true;
	bool paid = true;

	for (int round = 0; round < 60; round++)
	{
		BgjobRate rate = random_rate(algorithm);
		BgjobUse use = {0};
		int64_t now = 0;

		spendings = 0;
		for (int i = 0; i < 400; i++)
		{
			int units = 1 + (int) dice(3 * rate.units);

			now += dice(rate.per / (dice(2) == 0 ? 50 : 200) + 2);
			bgjob_rate_spend(&use, &rate, units, now);
			model_spend(now, units);
			counted = counted && bgjob_rate_used(&use, &rate, now) >= model_used(&rate, now);
			when_exact = when_exact && when_is_exact(&use, &rate, now);
		}
		now += algorithm == BGJOB_RATE_TOKEN_BUCKET ? model_debt(&rate, now) / rate.units + 1
													: rate.per;
		paid = paid && bgjob_rate_is_clear(&use, &rate, now);
	}
	verdict(counted, algorithm, "a debt is counted");
	verdict(when_exact, algorithm, "and lasts as long as it should");
	verdict(paid, algorithm, "then it is over");
}

/*
 * Workers that always want one unit more, each some time after another or after the time at which one is free.
 * Returns the share of what the rate allows in so many periods.
 */
static double
saturate(const BgjobRate *rate, int periods, int64_t delay)
{
	BgjobUse use = {0};
	int64_t now = rate->per / 3;
	int64_t end = now + rate->per * periods;
	int64_t sum = 0;

	while (now < end)
	{
		int64_t when = bgjob_rate_when(&use, rate, 1, now);

		if (when > now)
			now = when + dice(delay + 1);
		else
		{
			bgjob_rate_spend(&use, rate, 1, now);
			sum++;
			now += dice(3) == 0 ? dice(rate->per / rate->units / 3 + 1) : 0;
		}
	}
	return (double) sum / ((double) rate->units * periods);
}

static void
test_saturated(BgjobRateAlgorithm algorithm)
{
	static const int units[] = {1, 10, 128, 129, 200, 1000, 30000};
	double least = 1000;

	for (int i = 0; i < 7; i++)
	{
		const BgjobRate rate = {algorithm, units[i], S};
		double share = saturate(&rate, 30, S / 1000);

		if (share < 0.97)
			printf("# %d per second: %.4f\n", units[i], share);
		least = MIN(least, share);
	}
	verdict(least >= 0.97, algorithm, "under saturation, 97 % of what is allowed, or more");
	printf("# %.4f\n", least);
}

/*
 * Corrections. Of a window, they count at the time of the spending. A bucket may be emptier than the model
 * says, where units are lost since it was full meanwhile; never fuller.
 */
static void
test_corrections(BgjobRateAlgorithm algorithm)
{
	bool right = true;
	bool never_fuller = true;
	bool when_exact = true;

	for (int round = 0; round < 100; round++)
	{
		BgjobRate rate = random_rate(algorithm);
		BgjobUse use = {0};
		int64_t now = 0;
		int64_t used;

		spendings = 0;
		for (int i = 0; i < 400; i++)
		{
			int units = random_units(&rate);

			now += random_pause(&rate);
			if (bgjob_rate_free(&use, &rate, now) >= units)
			{
				bgjob_rate_spend(&use, &rate, units, now);
				model_spend(now, units);
			}
			if (spendings > 0 && dice(2) == 0)
			{
				Spent *which = &spent[spendings - 1 - dice(MIN(spendings, 20))];
				int64_t by = dice(which->units + 1 + dice(rate.units / 3 + 1)) - which->units;

				bgjob_rate_correct(&use, &rate, (int) by, which->time, now);
				which->units += by;
			}
			used = bgjob_rate_used(&use, &rate, now);
			never_fuller = never_fuller && used >= model_used(&rate, now);
			right = right && (algorithm == BGJOB_RATE_TOKEN_BUCKET || rate.units > 128 ||
							  used == model_used(&rate, now));
			when_exact = when_exact && when_is_exact(&use, &rate, now);
		}
	}
	verdict(never_fuller, algorithm, "after corrections, no more is free than the model says");
	verdict(right, algorithm, "a window counts as the model does");
	verdict(when_exact, algorithm, "the time is exact");
}

/*
 * Jobs that announce more units than they use, and say so when they end: what they have used reaches nearly what
 * the rate allows.
 */
static void
test_saturated_corrections(BgjobRateAlgorithm algorithm)
{
	const BgjobRate rate = {algorithm, 10000, S};
	BgjobUse use = {0};
	int64_t started[8] = {0};
	bool runs[8] = {0};
	int64_t sum = 0;
	bool never_above = true;

	spendings = 0;
	for (int64_t now = 0; now < 30 * S; now += dice(S / 2000))
	{
		int worker = (int) dice(8);

		if (runs[worker])
		{
			bgjob_rate_correct(&use, &rate, -120, started[worker], now);
			for (int i = spendings - 1; i >= 0 && spent[i].time >= started[worker]; i--)
				if (spent[i].time == started[worker] && spent[i].units == 200)
				{
					spent[i].units = 80;
					break;
				}
			runs[worker] = false;
			sum += 80;
		}
		else if (bgjob_rate_free(&use, &rate, now) >= 200)
		{
			bgjob_rate_spend(&use, &rate, 200, now);
			model_spend(now, 200);
			started[worker] = now;
			runs[worker] = true;
			never_above = never_above && model_used(&rate, now) <= rate.units;
		}
	}
	verdict(never_above, algorithm, "never above, where much returns");
	verdict(sum >= 0.97 * 30 * rate.units, algorithm, "it is used by others");
	printf("# %.4f\n", (double) sum / (30.0 * rate.units));
}

/* The algorithm of a window, or its units, change at any time: each spending is within what then holds. */
static void
test_changes(void)
{
	bool never_above = true;
	bool when_exact = true;
	bool clear = true;

	for (int round = 0; round < 100; round++)
	{
		BgjobRate rate = random_rate(algorithms[dice(2)]);
		BgjobUse use = {0};
		int64_t now = 0;

		spendings = 0;
		for (int i = 0; i < 500; i++)
		{
			int units = random_units(&rate);

			now += random_pause(&rate);
			if (dice(20) == 0)
				rate.algorithm = algorithms[dice(2)];
			if (dice(20) == 0)
				rate.units = (int) PICK(1, 3, 10, 100, 130, 1000);
			if (bgjob_rate_free(&use, &rate, now) >= units)
			{
				bgjob_rate_spend(&use, &rate, units, now);
				model_spend(now, units);
				never_above = never_above && model_used(&rate, now) <= rate.units;
			}
			when_exact = when_exact && when_is_exact(&use, &rate, now);
		}
		clear = clear && bgjob_rate_is_clear(&use, &rate, now + rate.per);
	}
	is_true(never_above, "windows that change: never above");
	is_true(when_exact, "windows that change: the time is exact");
	is_true(clear, "windows that change: clear after a period");
}

/* Everything changes at any time: nothing is blocked for longer than two periods, and all ends. */
static void
test_all_changes(void)
{
	bool when_exact = true;
	bool in_time = true;
	bool clear = true;

	for (int round = 0; round < 200; round++)
	{
		BgjobRate rate = random_rate(algorithms[dice(3)]);
		BgjobUse use = {0};
		int64_t now = 0;

		for (int i = 0; i < 500; i++)
		{
			now += random_pause(&rate);
			if (dice(10) == 0)
				rate = random_rate(algorithms[dice(3)]);
			if (dice(100) == 0)
				bgjob_rate_correct(&use, &rate, (int) dice(20) - 10, now - dice(rate.per), now);
			if (bgjob_rate_free(&use, &rate, now) >= 1)
				bgjob_rate_spend(&use, &rate, 1, now);
			when_exact = when_exact && when_is_exact(&use, &rate, now);
			rate.units += 1000; /* above any debt by corrections */
			in_time = in_time && bgjob_rate_when(&use, &rate, 1, now) <= now + rate.per;
			rate.units -= 1000;
		}
		rate.algorithm = algorithms[dice(3)];
		rate.units += 1000;
		clear = clear && bgjob_rate_is_clear(&use, &rate, now + rate.per);
	}
	is_true(when_exact, "rates that change: the time is exact");
	is_true(in_time, "rates that change: for no longer than a period");
	is_true(clear, "rates that change: clear after a period");
}

/* Processes that read the clock some time before they spend. */
static void
test_held_up(BgjobRateAlgorithm algorithm)
{
	bool never_above = true;
	bool in_time = true;

	for (int round = 0; round < 60; round++)
	{
		BgjobRate rate = random_rate(algorithm);
		BgjobUse use = {0};
		int64_t now = 0;

		spendings = 0;
		for (int i = 0; i < 500; i++)
		{
			int units = random_units(&rate);
			int64_t behind;

			now += random_pause(&rate);
			behind = now - (dice(3) == 0 ? dice(S) : 0);
			in_time = in_time && bgjob_rate_when(&use, &rate, units, behind) <=
									 now + rate.per + rate.per / 128;
			if (bgjob_rate_free(&use, &rate, behind) >= units)
			{
				bgjob_rate_spend(&use, &rate, units, behind);
				model_spend(spendings > 0 ? MAX(behind, spent[spendings - 1].time) : behind,
							units);
				never_above =
					never_above && model_used(&rate, spent[spendings - 1].time) <= rate.units;
			}
		}
	}
	verdict(never_above, algorithm, "never above, where processes are held up");
	verdict(in_time, algorithm, "which delays nothing");
}

/*
 * A clock that jumps, in both directions. The model goes by the time that has passed: with each jump, a period's
 * units more are let through, or fewer.
 */
static void
test_jumps(BgjobRateAlgorithm algorithm)
{
	bool never_above = true;
	bool in_time = true;

	for (int round = 0; round < 60; round++)
	{
		BgjobRate rate = random_rate(algorithm);
		BgjobUse use = {0};
		int64_t passed = 0;
		int64_t jump = 0;
		int64_t since = -1;
		int64_t jumps = 0;

		spendings = 0;
		for (int i = 0; i < 500; i++)
		{
			int64_t now = (passed += random_pause(&rate)) + jump;
			int64_t longest = MAX(rate.per, S) + rate.per;

			if (dice(50) == 0)
			{
				int64_t sum = model_sum(since);
				double allowed = algorithm == BGJOB_RATE_TOKEN_BUCKET
									 ? rate.units * (1 + (double) (passed - since) / rate.per)
									 : rate.units * (2 + (double) (passed - since) / rate.per);

				never_above = never_above && sum <= allowed;
				jump += dice(2) == 0 ? dice(20 * S) - 10 * S
									 : dice(20 * rate.per + 1) - 10 * rate.per;
				since = passed;
				passed++;
				now = passed + jump;
				jumps++;
			}
			in_time = in_time && bgjob_rate_when(&use, &rate, 1, now) <= now + longest;
			if (bgjob_rate_free(&use, &rate, now) >= 1)
			{
				bgjob_rate_spend(&use, &rate, 1, now);
				model_spend(passed, 1);
			}
		}
	}
	verdict(never_above, algorithm, "between two jumps of the clock, one period's units more");
	verdict(in_time, algorithm, "none of them blocks for longer than two periods");
}

int
main(void)
{
	for (int i = 0; i < 3; i++)
	{
		test_as_model(algorithms[i]);
		test_debt(algorithms[i]);
		test_saturated(algorithms[i]);
		test_corrections(algorithms[i]);
		test_saturated_corrections(algorithms[i]);
		test_held_up(algorithms[i]);
		test_jumps(algorithms[i]);
	}
	test_changes();
	test_all_changes();
	return tap_end();
}
