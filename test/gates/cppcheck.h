/*
 * The macros of PostgreSQL's headers that cppcheck, which runs without them,
 * cannot do without: those that are not expressions. See cppcheck.sh.
 */
#define PG_VERSION_NUM 150000
#define FLEXIBLE_ARRAY_MEMBER
#define PGDLLEXPORT
#define PGDLLIMPORT
#define pg_noreturn
#define pg_attribute_noreturn()
#define pg_attribute_printf(f, a)
#define pg_unreachable() abort()
#define PG_MODULE_MAGIC
#define PG_MODULE_MAGIC_EXT(...)
#define PG_FUNCTION_INFO_V1(f) extern Datum f(PG_FUNCTION_ARGS)
#define PG_TRY(...)                                                                            \
	if (setjmp(jump) == 0)                                                                     \
	{
#define PG_CATCH(...)                                                                          \
	}                                                                                          \
	else                                                                                       \
	{
#define PG_FINALLY(...)                                                                        \
	}                                                                                          \
	{
#define PG_END_TRY(...) }
#define foreach(cell, list)                                                                    \
	for (ListCell *cell = first_of(list); cell != NULL; cell = next_of(cell))
#define LOG                 15
#define WARNING             19
#define ERROR               21
#define FATAL               22
#define PANIC               23
#define ereport(level, ...) ((level) >= ERROR ? abort() : report(__VA_ARGS__))
#define elog(level, ...)    ((level) >= ERROR ? abort() : report(__VA_ARGS__))
#define Assert(condition)   ((condition) ? (void) 0 : abort())
