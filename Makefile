# Two commands on a fresh Debian 12 machine: `make run` and `make test`.
# Others: build, test-long, test-offline, test-arm, models, bench, fuzz, clean.  Set-up installs missing Debian packages itself when it may,
# else prints the line to type.

BUILD  ?= build
JOBS   ?= $(shell nproc)
PREFIX ?= /usr/local
NINJA   = cmake --build $(BUILD) -j $(JOBS)

.PHONY: build run test test-long test-offline test-arm models bench fuzz install clean deps

build: deps
	@[ -f $(BUILD)/CMakeCache.txt ] || cmake -S . -B $(BUILD) -G Ninja > $(BUILD).configure.log || { cat $(BUILD).configure.log; exit 1; }
	@rm -f $(BUILD).configure.log
	@$(NINJA)

deps:
	@scripts/deps.sh

# Starts the grid with the embedded models, sends one real request of every task, prints the answers and
# leaves server and dashboard up until Ctrl-C.  ONCE=1 stops after the answers.
run: build
	@scripts/run.sh $(BUILD) $(ONCE)

test: build
	@ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS) -LE long

# Sanitizer run of the whole suite, the slow tests, minutes of fuzzing.
test-long: build
	@scripts/test_long.sh

# The quick suite under strace: nothing may connect to anybody outside this machine.
test-offline: build
	@scripts/test_offline.sh $(BUILD)

# Trains every shipped package again from its recipe (needs NANOGRID_DATA).
models: build
	@scripts/models.sh $(BUILD)

# The unit tests on 64-bit ARM under emulation.
test-arm:
	@scripts/test_arm.sh

bench: build
	@scripts/bench.sh $(BUILD)

fuzz: deps
	@scripts/fuzz.sh

install: build
	install -D -m 755 $(BUILD)/nanogrid $(DESTDIR)$(PREFIX)/bin/nanogrid
	mkdir -p $(DESTDIR)$(PREFIX)/share/nanogrid $(DESTDIR)$(PREFIX)/share/man/man1
	cp -r models $(DESTDIR)$(PREFIX)/share/nanogrid/
	scripts/man.sh $(BUILD)/nanogrid $(DESTDIR)$(PREFIX)/share/man/man1

clean:
	rm -rf $(BUILD) build-asan build-fuzz build-arm
