# bgjob: background jobs inside PostgreSQL
#
#   make                 builds the library and the install script (PG_CONFIG=… chooses the server)
#   make install         installs them
#
# Beside the library it builds two programs: bgjob-worker, for external workers, if libpq's headers are there (Debian:
# libpq-dev), its option --listen needs libmicrohttpd (libmicrohttpd-dev); and bgjob-dashboard, which needs both.
# What is missing is left out, with a message.
#
#   make WERROR=1        warnings are errors, as in the test suite
#
# The source is laid out in layers, see src/README.md; the install script is
# the concatenation of src/sql/*.sql in the order of their names, with the options of jobs written in.

EXTENSION = bgjob
EXTVERSION = 1.0
MODULE_big = bgjob
# The layers. The programs' folders (client, worker, dashboard) are no part of the library.
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c $(addprefix src/,$(addsuffix /*.c,rules base store run process api)))))
DATA_built = bgjob--$(EXTVERSION).sql
HEADERS = src/include/bgjob.h
SQL_PIECES = $(sort $(wildcard src/sql/*.sql))

REGRESS = $(sort $(patsubst sql/%.sql,%,$(wildcard sql/*.sql)))
REGRESS_OPTS = --inputdir=. --load-extension=bgjob

PG_CPPFLAGS = -Isrc -DBGJOB_VERSION='"$(EXTVERSION)"'
PG_CFLAGS = -std=gnu99 -Werror=implicit-function-declaration -Wextra -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers
ifdef WERROR
PG_CFLAGS += -Werror
endif

CLIENT_OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/client/*.c)))
WORKER_OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/worker/*.c)))
# What the dashboard has in it besides: its statements, and the files of its page.
DASHBOARD_MADE = dashboard-statements.c dashboard-assets.c
DASHBOARD_OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/dashboard/*.c)) $(DASHBOARD_MADE))
DASHBOARD_SQL = $(sort $(wildcard src/dashboard/sql/*.sql src/dashboard/actions/*.sql src/dashboard/internal/*.sql))
DASHBOARD_WEB = $(sort $(shell find src/dashboard/web -type f))
PROGRAM_OBJS = $(CLIENT_OBJS) $(WORKER_OBJS) $(DASHBOARD_OBJS)

EXTRA_CLEAN = $(DATA_built) $(OBJS:.o=.d) $(OBJS:.o=.bc) $(PROGRAM_OBJS) $(PROGRAM_OBJS:.o=.d) $(DASHBOARD_MADE) bgjob-worker bgjob-dashboard

# LLVM bitcode serves inlining into queries only; the library has nothing to inline.
override with_llvm = no

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(DATA_built): src/sql/expand.awk src/store/optionlist.h $(SQL_PIECES) bgjob.control
	awk -f src/sql/expand.awk src/store/optionlist.h $(SQL_PIECES) > $@.new && mv $@.new $@

# Every object depends on every header: the library is small, and a stale object is worse than a rebuild.
$(OBJS): $(wildcard src/*/*.h)

# The programs. They see libpq's headers, and none of the server's.
has_header = $(shell printf '\043include <%s>\n' $(1) | $(CC) -I$(includedir) -E - >/dev/null 2>&1 && echo yes)

ifneq ($(call has_header,libpq-fe.h),yes)
all: no-program
else
all: bgjob-worker
install: install-worker
uninstall: uninstall-worker
ifneq ($(call has_header,microhttpd.h),yes)
all: no-http
else
HTTP_FLAGS = -DBGJOB_HTTP
HTTP_LIBS = -lmicrohttpd
all: bgjob-dashboard
install: install-dashboard
uninstall: uninstall-dashboard
endif
endif

$(PROGRAM_OBJS): override CPPFLAGS = -Isrc -I$(includedir) -DBGJOB_VERSION='"$(EXTVERSION)"' -D_GNU_SOURCE $(HTTP_FLAGS)
$(PROGRAM_OBJS): $(wildcard src/client/*.h src/worker/*.h src/dashboard/*.h)

bgjob-worker: $(CLIENT_OBJS) $(WORKER_OBJS)
	$(CC) $(CFLAGS) $^ $(LDFLAGS) $(LDFLAGS_EX) -L$(libdir) -lpq $(HTTP_LIBS) -o $@

bgjob-dashboard: $(CLIENT_OBJS) $(DASHBOARD_OBJS)
	$(CC) $(CFLAGS) $^ $(LDFLAGS) $(LDFLAGS_EX) -L$(libdir) -lpq $(HTTP_LIBS) -o $@

dashboard-statements.c: src/dashboard/statements.awk $(DASHBOARD_SQL)
	LC_ALL=C awk -f src/dashboard/statements.awk $(DASHBOARD_SQL) >$@.new && mv $@.new $@

dashboard-assets.c: src/dashboard/assets.sh $(DASHBOARD_WEB)
	sh src/dashboard/assets.sh src/dashboard/web >$@.new && mv $@.new $@

install-worker: bgjob-worker
	$(MKDIR_P) '$(DESTDIR)$(bindir)' '$(DESTDIR)$(mandir)/man1' '$(DESTDIR)$(docdir)'
	$(INSTALL_PROGRAM) bgjob-worker '$(DESTDIR)$(bindir)/'
	$(INSTALL_DATA) doc/man/bgjob-worker.1 '$(DESTDIR)$(mandir)/man1/'
	sed 's,/usr/bin/env bgjob-worker,$(bindir)/bgjob-worker,' doc/systemd/bgjob-worker@.service >'$(DESTDIR)$(docdir)/bgjob-worker@.service'

uninstall-worker:
	rm -f '$(DESTDIR)$(bindir)/bgjob-worker' '$(DESTDIR)$(mandir)/man1/bgjob-worker.1' '$(DESTDIR)$(docdir)/bgjob-worker@.service'

install-dashboard: bgjob-dashboard
	$(MKDIR_P) '$(DESTDIR)$(bindir)' '$(DESTDIR)$(mandir)/man1' '$(DESTDIR)$(docdir)'
	$(INSTALL_PROGRAM) bgjob-dashboard '$(DESTDIR)$(bindir)/'
	$(INSTALL_DATA) doc/man/bgjob-dashboard.1 '$(DESTDIR)$(mandir)/man1/'
	sed 's,/usr/bin/env bgjob-dashboard,$(bindir)/bgjob-dashboard,' doc/systemd/bgjob-dashboard.service >'$(DESTDIR)$(docdir)/bgjob-dashboard.service'

uninstall-dashboard:
	rm -f '$(DESTDIR)$(bindir)/bgjob-dashboard' '$(DESTDIR)$(mandir)/man1/bgjob-dashboard.1' '$(DESTDIR)$(docdir)/bgjob-dashboard.service'

no-program:
	@echo "bgjob-worker and bgjob-dashboard are left out: there is no libpq-fe.h in $(includedir) (Debian: libpq-dev)"

no-http:
	@echo "bgjob-worker is built without --listen, and bgjob-dashboard is left out: there is no microhttpd.h (Debian: libmicrohttpd-dev)"

.PHONY: install-worker uninstall-worker install-dashboard uninstall-dashboard no-program no-http
