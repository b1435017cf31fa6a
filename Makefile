# bgjob: background jobs inside PostgreSQL
#
#   make                 builds the library and the install script (PG_CONFIG=… chooses the server)
#   make install         installs them
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

EXTRA_CLEAN = $(DATA_built) $(OBJS:.o=.d) $(OBJS:.o=.bc)

# LLVM bitcode serves inlining into queries only; the library has nothing to inline.
override with_llvm = no

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(DATA_built): src/sql/expand.awk src/store/optionlist.h $(SQL_PIECES) bgjob.control
	awk -f src/sql/expand.awk src/store/optionlist.h $(SQL_PIECES) > $@.new && mv $@.new $@

# Every object depends on every header: the library is small, and a stale object is worse than a rebuild.
$(OBJS): $(wildcard src/*/*.h)
