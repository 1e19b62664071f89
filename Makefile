# provconn: links to third-party providers, kept in PostgreSQL
#
#   make && make install        build and install for the pg_config in PATH
#   make installcheck           pg_regress and isolationtester on a running server
#   make PG_CONFIG=/path/to/pg_config ...   another installation

EXTENSION = provconn
EXTVERSION = $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" provconn.control)
MODULE_big = provconn

OBJS = \
	src/archive.o src/arguments.o src/attempt.o src/audit.o src/auditapi.o src/backoff.o src/breaker.o src/call.o \
	src/catalog.o src/cipher.o src/command.o src/connection.o src/digest.o src/doctor.o \
	src/entry.o src/envelope.o src/erasure.o src/fault.o src/field.o src/health.o src/idempotency.o src/import.o \
	src/journal.o src/json.o src/keyfile.o src/keyring.o src/lifecycle.o src/listing.o src/markup.o src/mask.o \
	src/masterkey.o src/merkle.o src/metadata.o src/module.o src/news.o src/opsapi.o \
	src/partition.o src/progress.o src/provider.o src/queue.o \
	src/queueapi.o src/random.o src/refresh.o src/report.o src/reportapi.o src/ring.o src/rights.o src/rotation.o src/seal.o src/secret.o \
	src/settings.o src/shard.o src/sqlapi.o src/statement.o src/store.o src/style.o \
	src/throttle.o src/timeline.o src/token.o src/trigger.o src/types.o src/uuid7.o \
	src/vault.o src/worker.o src/writer.o

# The install script is these pieces, in this order.
SQL_PIECES = $(addprefix src/install/, \
	check.sql types.sql tables.sql functions.sql triggers.sql views.sql \
	verify.sql report.sql doctor.sql grants.sql \
	comments.sql)
EXTENSION_SQL = provconn--$(EXTVERSION).sql
DATA_built = $(EXTENSION_SQL)

REGRESS = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
REGRESS_OPTS = --inputdir=. --encoding=UTF8 --no-locale
ISOLATION = $(patsubst test/isolation/specs/%.spec,%,$(sort $(wildcard test/isolation/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test/isolation

EXTRA_CLEAN = $(EXTENSION_SQL) src/*.d output_iso

PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
PGVERSION := $(shell $(PG_CONFIG) --version 2>/dev/null | sed -n 's/^PostgreSQL \([0-9][0-9]*\).*/\1/p')

ifeq ($(PGVERSION),)
$(error $(PG_CONFIG) cannot be run: install PostgreSQL with its server headers (Debian, Ubuntu: postgresql-server-dev-all), or say make PG_CONFIG=/path/to/pg_config)
endif
ifeq ($(wildcard $(PGXS)),)
$(error PostgreSQL $(PGVERSION) has no PGXS here: install its server headers (Debian, Ubuntu: postgresql-server-dev-$(PGVERSION); Fedora: postgresql-server-devel), or say make PG_CONFIG=/path/to/pg_config)
endif
ifeq ($(filter 15 16 17 18,$(PGVERSION)),)
$(error provconn needs PostgreSQL 15, 16, 17 or 18; $(PG_CONFIG) is of $(PGVERSION))
endif

include $(PGXS)

# An object depends on the headers it was built from, as the compiler saw them.
override CFLAGS += -MMD -MP
-include $(OBJS:.o=.d)
$(OBJS:.o=.bc): $(wildcard src/*.h)

$(EXTENSION_SQL): $(SQL_PIECES) provconn.control Makefile
	{ printf '%s\n' '\echo Use "CREATE EXTENSION provconn CASCADE" to load this file. \quit'; \
	  cat $(SQL_PIECES); } > $@.tmp && mv $@.tmp $@
