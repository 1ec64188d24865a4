# CX: a fault-tolerant network for parallel computing. `make help` lists what can be made.
#
# One Makefile, not recursive. Everything that is built lies under build/<variant>/; a file that is added to a
# folder is built without an edit here.

VARIANT ?= release
PREFIX  ?= /usr/local
VERSION := $(shell cat VERSION)
B       := build/$(VARIANT)
GEN     := build/gen

CC       ?= cc
WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings
CFLAGS   ?= -O2 -g
VCFLAGS.release :=
VCFLAGS.asan    := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -DCX_ASAN
VCFLAGS.tsan    := -fsanitize=thread -fno-omit-frame-pointer -DCX_TSAN
VCFLAGS.fuzz    := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -DCX_ASAN
V        := $(VCFLAGS.$(VARIANT))
override CPPFLAGS += -D_GNU_SOURCE -DCX_VERSION='"$(VERSION)"' -I. -Iinclude -I$(GEN) -I/usr/include/nanopb
ALL_CFLAGS = -std=c11 $(WARN) $(CFLAGS) $(V) -fPIC -fvisibility=hidden -ffp-contract=off -MMD -MP

# ---- What is made of what ----
objs = $(patsubst %.c,$(B)/obj/%.o,$(wildcard $(1)))

BASE     := $(call objs,base/*.c)
TSCORE   := $(call objs,taskserver/core/*.c)
ENGINE   := $(call objs,producer/runner/engine*.c)
PRODCORE := $(call objs,producer/core/*.c)
BROKCORE := $(call objs,broker/core/*.c)
PROTO    := $(call objs,proto/*.c) $(B)/obj/gen/proto/cx.pb.o
LIBCX    := $(call objs,consumer/*.c consumer/core/*.c)
SUPPORT  := $(call objs,tests/support/*.c)

WIRE_LIBS := -lgrpc -lgpr -lprotobuf-nanopb -lssl -lcrypto -lpthread
SYS_LIBS  := -lconfig -lcjson -lm -ldl -lpthread
BROKER_LIBS := -lsqlite3 -lcurl

PROGRAMS := cx cx-taskserver cx-producer cx-runner cx-broker
MODULES  := $(patsubst examples/%/module.c,$(B)/examples/%.so,$(wildcard examples/*/module.c))
EXAMPLES := $(patsubst examples/%/main.c,$(B)/bin/%,$(wildcard examples/*/main.c))
UNIT     := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/*.c))
E2E      := $(patsubst tests/e2e/%.c,$(B)/tests/e2e/%,$(wildcard tests/e2e/*.c))
SIM      := $(patsubst tests/sim/%.c,$(B)/tests/sim/%,$(wildcard tests/sim/*.c))
FUZZ     := $(patsubst tests/fuzz/%.c,$(B)/tests/fuzz/%,$(wildcard tests/fuzz/*.c))
BENCH    := $(patsubst tests/bench/%.c,$(B)/tests/bench/%,$(wildcard tests/bench/*.c))
TESTMODS := $(patsubst tests/modules/%.c,$(B)/tests/modules/%.so,$(wildcard tests/modules/*.c))
PRODUCTS := $(addprefix $(B)/bin/,$(PROGRAMS)) $(B)/lib/libcx.so $(B)/lib/libcx.a $(MODULES) $(EXAMPLES)

.PHONY: all help deps bench-deps demo test test-unit test-e2e test-sim test-fuzz check sim fuzz soak bench install uninstall \
        format format-check clean products tests unit-tests purity
.SECONDARY:
.DELETE_ON_ERROR:

all: deps ## build everything (installs missing packages first)
	@$(MAKE) --no-print-directory products

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24
	@echo '  VARIANT=release|asan|tsan chooses the build; PREFIX, DESTDIR, CFLAGS work as usual'

deps: ## install the Debian packages that are missing
	@tools/deps build

bench-deps: ## install the peers that the benchmarks compare with
	@tools/deps bench

products: $(PRODUCTS)
tests: products $(UNIT) $(E2E) $(SIM) $(FUZZ) $(TESTMODS)
unit-tests: products $(UNIT) $(SIM) $(FUZZ) $(TESTMODS)

# ---- Compiling ----
# The engine's calls are a few nanoseconds each: on a cache line of its own each costs less (9.1 -> 8.5 ns a task).
$(ENGINE): CFLAGS += -falign-functions=64
$(B)/obj/%.o: %.c | $(GEN)/proto/cx.pb.h
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -c $< -o $@

$(B)/obj/gen/%.o: $(GEN)/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -Wno-shadow -c $< -o $@

# The generator is given Debian's own python: another one on the path lacks the protobuf modules.
$(GEN)/proto/cx.pb.h $(GEN)/proto/cx.pb.c &: proto/cx.proto proto/cx.options
	@mkdir -p $(GEN)
	/usr/bin/python3 -E -s /usr/bin/nanopb_generator.py -q -D $(GEN) proto/cx.proto

$(B)/lib/libbase.a: $(BASE)
$(B)/lib/libtscore.a: $(TSCORE)
$(B)/lib/libengine.a: $(ENGINE)
$(B)/lib/libprodcore.a: $(PRODCORE)
$(B)/lib/libbrokcore.a: $(BROKCORE)
$(B)/lib/libbroker.a: $(filter-out %/main.o,$(call objs,broker/*.c))
$(B)/lib/libproto.a: $(PROTO)
$(B)/lib/libsupport.a: $(SUPPORT)
$(B)/lib/libconscore.a: $(call objs,consumer/core/*.c)
$(B)/lib/libconsumer.a: $(LIBCX) $(TSCORE) $(ENGINE) $(PROTO) $(BASE)
# For users: one object whose names outside <cx/...> are hidden.
$(B)/lib/libcx.a: $(B)/lib/libconsumer.a
	$(LD) -r --whole-archive $< -o $(B)/lib/cx.o
	objcopy --localize-hidden $(B)/lib/cx.o
	@rm -f $@
	ar rcs $@ $(B)/lib/cx.o
$(B)/lib/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	ar rcs $@ $^

$(B)/lib/libcx.so: $(B)/lib/libconsumer.a consumer/libcx.map
	$(CC) $(ALL_CFLAGS) -shared -Wl,-soname,libcx.so.0 -Wl,--version-script=consumer/libcx.map -Wl,--whole-archive \
	    $< -Wl,--no-whole-archive -Wl,--as-needed $(WIRE_LIBS) $(SYS_LIBS) $(LDFLAGS) -o $@
	@ln -sf libcx.so $(B)/lib/libcx.so.0

link = @mkdir -p $(@D); $(if $(Q),,echo "link $@";) $(CC) $(ALL_CFLAGS) $(LDFLAGS) $(filter %.o %.a,$^) -Wl,--as-needed $(1) -o $@

$(B)/bin/cx-taskserver: $(call objs,taskserver/*.c) $(addprefix $(B)/lib/,libtscore.a libproto.a libbase.a)
	$(call link,$(WIRE_LIBS) $(SYS_LIBS))
$(B)/bin/cx-producer: $(call objs,producer/*.c) $(addprefix $(B)/lib/,libprodcore.a libproto.a libbase.a)
	$(call link,$(WIRE_LIBS) $(SYS_LIBS))
$(B)/bin/cx-runner: $(filter-out $(ENGINE),$(call objs,producer/runner/*.c producer/link.c)) $(addprefix $(B)/lib/,libengine.a libbase.a)
	$(call link,-ldl -lpthread -lm)
$(B)/bin/cx-broker: $(call objs,broker/*.c) $(addprefix $(B)/lib/,libbrokcore.a libproto.a libbase.a)
	$(call link,$(WIRE_LIBS) $(SYS_LIBS) $(BROKER_LIBS))
$(B)/bin/cx: $(call objs,consumer/cmd/*.c) $(B)/lib/libconsumer.a
	$(call link,$(WIRE_LIBS) $(SYS_LIBS))

# Modules are built as a user would: the public headers, libc and libm.
MODULE_CFLAGS := -std=c11 -Wall -Wextra -O2 -g -fPIC -fvisibility=hidden -ffp-contract=off -Iinclude
$(B)/examples/%.so: examples/%/module.c $(wildcard include/cx/*.h) $(wildcard examples/*/*.h)
	@mkdir -p $(@D)
	$(CC) $(MODULE_CFLAGS) -shared $< -lm -o $@
$(B)/tests/modules/%.so: tests/modules/%.c $(wildcard include/cx/*.h)
	@mkdir -p $(@D)
	$(CC) $(MODULE_CFLAGS) -shared $< -lm -o $@
# Examples with a program of their own: libcx, and the JPEG library for the pictures.
$(B)/bin/%: $(B)/obj/examples/%/main.o $(B)/lib/libcx.so
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) $< -L$(B)/lib -lcx -ljpeg -lm -Wl,-rpath,'$$ORIGIN/../lib' -o $@

TEST_LIBS := $(addprefix $(B)/lib/,libsupport.a libconsumer.a libprodcore.a libbroker.a libbrokcore.a libproto.a libbase.a)
$(B)/tests/%: $(B)/obj/tests/%.o $(TEST_LIBS)
	$(call link,-lcmocka $(WIRE_LIBS) $(SYS_LIBS) $(BROKER_LIBS))
# Tests of the task server's shell, which no library for users holds.
$(B)/lib/libtaskserver.a: $(filter-out %/main.o,$(call objs,taskserver/*.c))
$(addprefix $(B)/tests/unit/,journal journal_disk journal_other archive backup blobs blobgate blobfetch \
    taskserver_outbox): $(B)/tests/%: $(B)/obj/tests/%.o $(B)/lib/libtaskserver.a $(TEST_LIBS)
	$(call link,-lcmocka $(WIRE_LIBS) $(SYS_LIBS) $(BROKER_LIBS))
$(B)/tests/fuzz/journal: $(B)/obj/tests/fuzz/journal.o $(if $(filter fuzz,$(VARIANT)),,$(B)/obj/tests/fuzz/driver/main.o) \
    $(B)/lib/libtaskserver.a $(TEST_LIBS)
	$(call link,$(if $(filter fuzz,$(VARIANT)),-fsanitize=fuzzer) $(WIRE_LIBS) $(SYS_LIBS) $(BROKER_LIBS))
# Tests of the producer's shell.
$(B)/lib/libproducer.a: $(filter-out %/main.o,$(call objs,producer/*.c))
$(addprefix $(B)/tests/unit/,runner blobcache link place): $(B)/tests/%: $(B)/obj/tests/%.o $(B)/lib/libproducer.a $(TEST_LIBS)
	$(call link,-lcmocka $(WIRE_LIBS) $(SYS_LIBS) $(BROKER_LIBS))
# Fuzz targets get a plain driver that replays the corpus and mutates it a little; `make fuzz` uses libFuzzer.
ifeq ($(VARIANT),fuzz)
$(B)/tests/fuzz/%: $(B)/obj/tests/fuzz/%.o $(TEST_LIBS)
	$(call link,-fsanitize=fuzzer $(WIRE_LIBS) $(SYS_LIBS) $(BROKER_LIBS))
else
$(B)/tests/fuzz/%: $(B)/obj/tests/fuzz/%.o $(B)/obj/tests/fuzz/driver/main.o $(TEST_LIBS)
	$(call link,-lcmocka $(WIRE_LIBS) $(SYS_LIBS) $(BROKER_LIBS))
endif

# ---- Testing ----
test: deps ## install, build and test: unit, simulation, fuzz corpus, end to end; with ASan+UBSan and TSan where they count
	@tools/test

check: tests ## the tests of this VARIANT, without installing anything
	@tools/run-tests $(B) unit fuzz sim e2e
test-unit: products $(UNIT) $(TESTMODS)
	@tools/run-tests $(B) unit
test-e2e: products $(E2E) $(TESTMODS)
	@tools/run-tests $(B) e2e
test-sim: products $(SIM)
	@tools/run-tests $(B) sim
test-fuzz: products $(FUZZ)
	@tools/run-tests $(B) fuzz

soak: products $(E2E) $(TESTMODS) ## the end-to-end tests RUNS=20 times over: examples, kills, faults
	@tools/soak $(B) $(or $(RUNS),20)

sim: $(SIM) ## simulate SEEDS=100000 servers, as many pairs and networks of shards, on all cores
	$(B)/tests/sim/cx-sim 1 $(or $(SEEDS),100000)
	$(B)/tests/sim/pair-sim 1 $(or $(SEEDS),100000)
	$(B)/tests/sim/net-sim 1 $(or $(SEEDS),100000)

fuzz: ## fuzz every target with libFuzzer, SECONDS=60 each
	@tools/fuzz $(or $(SECONDS),60)

bench: bench-deps products $(BENCH) $(SIM) $(TESTMODS) ## measure against the peers: CASES="a b" for some
	@tools/bench $(B) $(CASES)

demo: deps ## render a picture on a local network while producers come and go
	@echo 'building; a minute the first time'
	@$(MAKE) --no-print-directory -s products
	@tools/demo $(B)

purity: $(addprefix $(B)/lib/,libtscore.a libprodcore.a libbrokcore.a libconscore.a libbase.a)
	@tools/purity $^

# ---- Installing ----
install: products ## install under PREFIX (DESTDIR is honoured)
	@tools/install "$(B)" "$(DESTDIR)" "$(PREFIX)" "$(VERSION)"
uninstall: ## remove what install put there
	@tools/install --remove "$(B)" "$(DESTDIR)" "$(PREFIX)" "$(VERSION)"

SOURCES = $(shell git ls-files '*.c' '*.h' 2>/dev/null | grep . || find * -name '*.[ch]' -not -path 'build/*')
format: ## clang-format the sources
	clang-format -i $(SOURCES)
format-check:
	clang-format --dry-run -Werror $(SOURCES)

clean: ## remove build/
	rm -rf build

-include $(shell find $(B) -name '*.d' 2>/dev/null)
