# GNU make. `make`, `make check`, `make demo`; the rest is listed in `help`.
#
# Objects live in build/VARIANT. A variant whose name contains "asan" is
# built with the sanitizers, so that CC=clang VARIANT=asan-clang works too.

VERSION = 0.1.0

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
SYSCONFDIR ?= /etc
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(DATADIR)/man
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
DESTDIR ?=

VARIANT ?= release
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
PKG_CONFIG ?= pkg-config
CLANG_FORMAT ?= clang-format
CLANG_TIDY ?= clang-tidy
CPPCHECK ?= cppcheck
VALGRIND ?= valgrind -q --error-exitcode=99 --leak-check=full
VALGRIND_TESTS ?= test_job

BUILD := build/$(VARIANT)
PACKAGES := libpq libuv yaml-0.1 libmicrohttpd

warnings := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes \
	-Wmissing-prototypes -Wformat=2 -Wvla
ifdef WERROR
warnings += -Werror
else ifeq ($(CI),true)
warnings += -Werror
endif
ifneq ($(findstring asan,$(VARIANT)),)
sanitize := -fsanitize=address,undefined -fno-omit-frame-pointer \
	-fno-sanitize-recover=all
endif

# The flags that the user gives come last and win. NDEBUG is never ours: an
# assertion of the daemon's is better met by a crash and a resume.
all_cflags = -std=c11 -D_GNU_SOURCE -DBACKFILLD_VERSION='"$(VERSION)"' \
	-Iinclude $(warnings) -O2 -g $(sanitize) \
	$(shell $(PKG_CONFIG) --cflags $(PACKAGES) 2>/dev/null) \
	$(CPPFLAGS) $(CFLAGS)
all_ldflags = $(sanitize) $(LDFLAGS)
libs = $(shell $(PKG_CONFIG) --libs $(PACKAGES) 2>/dev/null) -lm $(LDLIBS)
test_libs = $(shell $(PKG_CONFIG) --libs cmocka 2>/dev/null)
server_test_libs = $(shell $(PKG_CONFIG) --libs libssl 2>/dev/null)

# Everything but the two mains goes into one archive: the programs and the
# tests link against it.
mains := daemon/main.c daemon/ctl/main.c
sources := $(sort $(filter-out $(mains),$(wildcard daemon/*/*.c)))
objects := $(sources:%.c=$(BUILD)/%.o) $(BUILD)/gen/sql_scripts.o \
	$(BUILD)/gen/page.o
archive := $(BUILD)/libbackfill.a
scripts := $(sort $(wildcard daemon/sql/*.sql))

programs := $(if $(wildcard daemon/main.c),$(BUILD)/backfilld) \
	$(if $(wildcard daemon/ctl/main.c),$(BUILD)/backfillctl)

unit_tests := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/test_*.c))
sim_tests := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/sim/test_*.c))
sim_objects := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/sim/sim*.c))
server_tests := $(patsubst %.c,$(BUILD)/%,\
	$(wildcard tests/integration/test_*.c tests/fault/test_*.c))
preloads := $(patsubst %.c,$(BUILD)/%.so,$(wildcard tests/preload/*.c))
test_helpers := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/lib/*.c))

c_files := $(wildcard daemon/*.c daemon/*/*.[ch] include/*/*.h \
	tests/*/*.c tests/*/*.h)

.PHONY: all tests unit check soak packages demo asan valgrind tidy cppcheck layers \
	format format-check describe bench picture picture-dashboard install settle \
	uninstall clean help FORCE
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules

all: $(archive) $(programs)

help:
	@echo 'all check soak demo bench picture install uninstall clean'
	@echo 'asan valgrind tidy cppcheck layers format format-check describe'
	@echo 'TESTS="test_err test_job" selects; VARIANT, CC, WERROR=1'

# V=1 prints the commands themselves.
ifndef V
quiet = @echo '  $(1) $@';
endif

# ---- objects and programs

# Rewritten only when its content changes, so that what depends on it is
# rebuilt when the flags or the set of files did.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@$(PKG_CONFIG) --exists --print-errors $(PACKAGES)
	@printf '%s\n' '$(subst ','\'',$(CC) $(all_cflags) $(all_ldflags))' \
		| cmp -s - $@ || printf '%s\n' \
		'$(subst ','\'',$(CC) $(all_cflags) $(all_ldflags))' > $@

$(BUILD)/sources: FORCE
	@mkdir -p $(@D)
	@echo '$(sources) $(scripts)' | cmp -s - $@ || \
		echo '$(sources) $(scripts)' > $@

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quiet,CC  )$(CC) $(all_cflags) $(if $(filter tests/%,$<),-Itests/lib -Itests/sim) \
		-MMD -MP -c -o $@ $<

$(BUILD)/gen/sql_scripts.c: daemon/sql/embed $(scripts) $(BUILD)/sources
	@mkdir -p $(@D)
	$(call quiet,GEN )daemon/sql/embed $(scripts) > $@

$(BUILD)/gen/sql_scripts.o: $(BUILD)/gen/sql_scripts.c $(BUILD)/flags
	$(call quiet,CC  )$(CC) $(all_cflags) -MMD -MP -c -o $@ $<

$(BUILD)/gen/page.c: daemon/ops/embed daemon/ops/dashboard.html
	@mkdir -p $(@D)
	$(call quiet,GEN )daemon/ops/embed daemon/ops/dashboard.html > $@

$(BUILD)/gen/page.o: $(BUILD)/gen/page.c $(BUILD)/flags
	$(call quiet,CC  )$(CC) $(all_cflags) -Idaemon/ops -MMD -MP -c -o $@ $<

$(archive): $(objects) $(BUILD)/sources
	@rm -f $@
	$(call quiet,AR  )$(AR) rcs $@ $(objects)

$(BUILD)/backfilld: $(BUILD)/daemon/main.o $(archive)
	$(call quiet,LINK)$(CC) $(all_ldflags) -o $@ $^ $(libs)

$(BUILD)/backfillctl: $(BUILD)/daemon/ctl/main.o $(archive)
	$(call quiet,LINK)$(CC) $(all_ldflags) -o $@ $^ $(libs)

# ---- tests

tests: $(unit_tests) $(sim_tests) $(server_tests) $(preloads)

unit: $(unit_tests)

$(unit_tests): $(BUILD)/%: $(BUILD)/%.o $(archive)
	$(call quiet,LINK)$(CC) $(all_ldflags) -o $@ $^ $(test_libs) $(libs)

$(sim_tests): $(BUILD)/%: $(BUILD)/%.o $(sim_objects) $(archive)
	$(call quiet,LINK)$(CC) $(all_ldflags) -o $@ $^ $(test_libs) $(libs)

# The simulated server, beside the real one.
$(BUILD)/tests/integration/test_sim_honest: $(sim_objects)

$(server_tests): $(BUILD)/%: $(BUILD)/%.o $(test_helpers) $(archive)
	$(call quiet,LINK)$(CC) $(all_ldflags) -o $@ $(filter %.o,$^) \
		$(archive) $(test_libs) $(server_test_libs) $(libs)

# Into a program by LD_PRELOAD, whose own sanitizer is enough.
$(BUILD)/tests/preload/%.so: tests/preload/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quiet,LINK)$(CC) $(filter-out $(sanitize),$(all_cflags)) \
		-fPIC -shared -o $@ $<

# The second make sees the packages that the first one installed.
check:
	@tests/lib/install-packages.sh check
	@$(MAKE) --no-print-directory -j$(JOBS) all tests
	@BACKFILL_BUILD_DIR='$(CURDIR)/$(BUILD)' tests/run

# More seeds of the simulator, more frozen daemons, and more deaths of each step
# of a migration, than a check has time for.
SEEDS ?= 100000
soak:
	@$(MAKE) --no-print-directory -j$(JOBS) all tests
	@SIM_SEEDS=$(SEEDS) $(BUILD)/tests/sim/test_sim
	@BACKFILL_SOAK=1 TESTS='test_freezes test_step_kills' \
		TEST_TIMEOUT=7200 BACKFILL_BUILD_DIR='$(CURDIR)/$(BUILD)' tests/run fault

demo:
	@tests/lib/install-packages.sh demo
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@BACKFILL_BUILD_DIR='$(CURDIR)/$(BUILD)' tests/demo

# The README's of the dashboard, of a real run.
picture-dashboard:
	@tests/browser/prepare
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@BACKFILL_BUILD_DIR='$(CURDIR)/$(BUILD)' tests/browser/with_servers \
		node tests/browser/picture.js conf/doc/dashboard.png

# One after the other; each also by itself: bench-update.
bench:
	@for bench in $(patsubst tests/bench/bench_%.sh,bench-%,\
		$(sort $(wildcard tests/bench/bench_*.sh))); do \
		$(MAKE) --no-print-directory $$bench || exit; \
	done

bench-%: tests/bench/bench_%.sh
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@BACKFILL_BUILD_DIR='$(CURDIR)/$(BUILD)' $<

# The picture in README.md, from a real run.
picture:
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@BACKFILL_BUILD_DIR='$(CURDIR)/$(BUILD)' tests/bench/picture.sh

asan:
	@$(MAKE) --no-print-directory -j$(JOBS) VARIANT=asan all tests
	@BACKFILL_BUILD_DIR='$(CURDIR)/build/asan' \
		TEST_LOGS=build/test-logs/asan \
		ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:exitcode=99 \
		UBSAN_OPTIONS=print_stacktrace=1 \
		tests/run unit sim integration fault

# Unit programs run under valgrind themselves; of the integration programs
# the daemon that they start does.
valgrind:
	@$(MAKE) --no-print-directory -j$(JOBS) all tests
	@BACKFILL_BUILD_DIR='$(CURDIR)/$(BUILD)' \
		TEST_LOGS=build/test-logs/valgrind \
		TEST_WRAPPER='$(VALGRIND)' tests/run unit
	@for name in $(VALGRIND_TESTS); do \
		if [ ! -e tests/integration/$$name.c ]; then \
			echo "skipped: tests/integration/$$name.c" \
				"does not exist"; \
			continue; \
		fi; \
		BACKFILL_BUILD_DIR='$(CURDIR)/$(BUILD)' \
			TEST_LOGS=build/test-logs/valgrind \
			BACKFILL_WRAPPER='$(VALGRIND)' \
			TESTS=$$name tests/run integration || exit; \
	done

# ---- what reads the source

layers:
	@tests/lib/layers.sh .

format:
	@$(CLANG_FORMAT) -i $(c_files)

format-check:
	@$(CLANG_FORMAT) --dry-run --Werror $(c_files)

tidy: $(BUILD)/gen/sql_scripts.c
	@printf '%s\n' $(wildcard daemon/*.c) $(wildcard daemon/*/*.c) | \
		xargs -P $(JOBS) -I FILE $(CLANG_TIDY) --quiet FILE -- \
		$(filter-out -Werror,$(all_cflags))

# A NULL that ends variadic arguments is a pointer on every POSIX system.
cppcheck:
	@$(CPPCHECK) --quiet --error-exitcode=1 --std=c11 --inline-suppr \
		--enable=warning,performance,portability -j$(JOBS) \
		--suppress=missingInclude --suppress=varFuncNullUB \
		-D_GNU_SOURCE -DBACKFILLD_VERSION='"$(VERSION)"' \
		-Iinclude -Itests/lib daemon $(wildcard tests)

# What is printed from the table of options, once more: the sample, and the
# middle of the manual page.
describe: all
	@$(BUILD)/backfilld --describe-config > conf/backfilld.yaml
	@$(BUILD)/backfilld --describe-config=mdoc > $(BUILD)/options.mdoc
	@sed -i -e '/^\.\\" Below is/,/^\.\\" Above is/{/^\.\\"/!d}' \
		-e '/^\.\\" Below is/r $(BUILD)/options.mdoc' \
		conf/man/backfilld.yaml.5

# ---- installing

manuals := $(wildcard conf/man/*.[1-8])
units := $(wildcard systemd/*.service)
examples := $(wildcard conf/examples/*)
monitoring := $(wildcard conf/prometheus/* conf/grafana/*)

install: all
	install -d '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(DATADIR)/backfilld/sql' \
		'$(DESTDIR)$(DATADIR)/doc/backfilld/examples' \
		'$(DESTDIR)$(SYSCONFDIR)/backfilld'
	$(if $(strip $(programs)),install -m 755 $(programs) '$(DESTDIR)$(BINDIR)')
	$(if $(scripts),install -m 644 $(scripts) \
		'$(DESTDIR)$(DATADIR)/backfilld/sql')
	$(if $(examples),install -m 644 $(examples) \
		'$(DESTDIR)$(DATADIR)/doc/backfilld/examples')
	install -m 644 $(monitoring) '$(DESTDIR)$(DATADIR)/doc/backfilld'
	install -D -m 644 conf/completions/backfillctl \
		'$(DESTDIR)$(DATADIR)/bash-completion/completions/backfillctl'
	@# A dsn may hold a password, so the file is its owner's alone.
	test -e '$(DESTDIR)$(SYSCONFDIR)/backfilld/backfilld.yaml' || \
		install -m 640 conf/backfilld.yaml \
		'$(DESTDIR)$(SYSCONFDIR)/backfilld/backfilld.yaml'
	$(foreach page,$(manuals),install -D -m 644 $(page) \
		'$(DESTDIR)$(MANDIR)/man$(subst .,,$(suffix $(page)))/$(notdir \
		$(page))' &&) true
	install -d '$(DESTDIR)$(UNITDIR)' '$(DESTDIR)$(SYSUSERSDIR)'
	@# The units name the default places.
	for unit in $(units); do \
		sed -e 's,/usr/local/bin/,$(BINDIR)/,' \
			-e 's,/etc/backfilld/,$(SYSCONFDIR)/backfilld/,' \
			"$$unit" > '$(DESTDIR)$(UNITDIR)/'"$${unit##*/}" && \
		chmod 644 '$(DESTDIR)$(UNITDIR)/'"$${unit##*/}" || exit; \
	done
	install -m 644 systemd/backfilld.sysusers \
		'$(DESTDIR)$(SYSUSERSDIR)/backfilld.conf'
	$(if $(DESTDIR),,@$(MAKE) --no-print-directory settle)

# What a package does after it was unpacked: the user, who may read the
# configuration, and what systemd knows of the units. Only root can.
settle:
	@if [ "$$(id -u)" -eq 0 ] && [ -d /run/systemd/system ]; then \
		systemd-sysusers '$(SYSUSERSDIR)/backfilld.conf' && \
		find '$(SYSCONFDIR)/backfilld/backfilld.yaml' -group root \
			-exec chgrp backfilld {} + && \
		systemctl daemon-reload; \
	fi
	@echo 'Installed. What is next, for a database DBNAME:'
	@echo '  backfillctl install -d DBNAME    as a superuser; ends with the' \
		'roles and lines that remain'
	@echo '  $(SYSCONFDIR)/backfilld/backfilld.yaml   names the databases'
	@echo '  systemctl enable --now backfilld'
	@echo '  backfillctl check -c $(SYSCONFDIR)/backfilld/backfilld.yaml' \
		'   as user backfilld'

# The configuration is the operator's and stays.
uninstall:
	rm -f '$(DESTDIR)$(BINDIR)/backfilld' '$(DESTDIR)$(BINDIR)/backfillctl'
	rm -f '$(DESTDIR)$(DATADIR)/bash-completion/completions/backfillctl'
	rm -rf '$(DESTDIR)$(DATADIR)/backfilld' \
		'$(DESTDIR)$(DATADIR)/doc/backfilld'
	$(foreach page,$(manuals),rm -f \
		'$(DESTDIR)$(MANDIR)/man$(subst .,,$(suffix $(page)))/$(notdir \
		$(page))' &&) true
	rm -f $(foreach unit,$(units),'$(DESTDIR)$(UNITDIR)/$(notdir $(unit))') \
		'$(DESTDIR)$(SYSUSERSDIR)/backfilld.conf'

clean:
	rm -rf build

-include $(objects:.o=.d) $(BUILD)/daemon/main.d $(BUILD)/daemon/ctl/main.d
-include $(unit_tests:%=%.d) $(sim_tests:%=%.d) $(sim_objects:.o=.d) \
	$(server_tests:%=%.d) $(test_helpers:.o=.d)
