# Every target has its line for `make help` behind two number signs.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# What breaks promises on purpose: see tests/src/torture/control.rs.
FAULTS := broker/faults,listener/faults,logger/faults,shop/faults
# What runs again over encrypted hops, with a key. Services in Go (swap::) encrypt nothing; a batch over a slow link takes
# longer there than a test waits, which is not understood yet.
SECURE := delivery:: reading:: status:: traces::one_entry listener:: outage:: keys::only_who keys::each_address keys::neither keys::a_browser \
  cli::an_entry cli::tail::a_tail_shows otlp::a_request otlp::over_both
# All that is released: for some of it alone cargo would choose other features, and build anew.
BUILD := cargo build --release --bins --locked
RELEASE := $${CARGO_TARGET_DIR:-target}/release
# What is built to be tried: minutes less than a release, and not for measuring.
QUICK := $${CARGO_TARGET_DIR:-target}/quick
BUILD_QUICK := cargo build --profile quick --locked
# The labs, and what they stand against.
BUILD_LABS := cargo build --locked --workspace --bin broker --bin listener --bin logger --bin lab --bin labs-rust
LAB := $${CARGO_TARGET_DIR:-target}/debug/lab
# What `make test` judges, with 50 wrong programs. Labs 2, 6 and 10 are about time: `make labs-full` judges all.
JUDGED := 1 3 4 5 7 8 9
.PHONY: help run shop demo key certs docs pictures lab labs-full test check container-test cluster-test schemathesis torture \
  compare claims fuzz bench bench-store

help: ## lists the targets
	@awk -F ':' '/^[a-z][a-z-]*:/ { name = $$1; sub(/^[^#]*(## )?/, ""); printf "  make %-13s %s\n", name, $$0 }' Makefile

run: ## RabbitMQ, logger, listener and broker, until Ctrl-C (PROFILE=release to measure it)
	@exec deploy/run.sh

shop: ## the course's shop: run, and five services that log to it, until Ctrl-C
	@exec course/shop/run.sh

demo: ## sends an entry over each transport to the stack that runs, and reads each back (builds for two minutes at first)
	@$(BUILD_QUICK) --bin demo
	@"$(QUICK)/demo"

key: ## creates an API key for a client (NAME=alice SCOPES=write,read FILE=data/keys)
	$(if $(NAME),,$(error say whose key it is: make key NAME=alice))
	@$(BUILD_QUICK) --bin new-key
	@"$(QUICK)/new-key" "$(NAME)" "$(or $(SCOPES),write,read)" "$(or $(FILE),data/keys)"

lab: ## the course's labs (ARGS="list", ARGS="start 1", ARGS="check 1"): course/labs/README.md
	@quiet=--quiet; [ -x "$(LAB)" ] || \
		{ quiet=; echo 'The first build takes some minutes. / Первая сборка занимает несколько минут.' >&2; }; \
		$(BUILD_LABS) $$quiet
	@"$(LAB)" $(ARGS)

labs-full: ## verifies the checks of all labs in full: all mutants, three seeds, a busy machine
	deploy/tools.sh
	$(BUILD_LABS)
	"$(LAB)" verify --full

# With --workspace throughout: for one package alone cargo would choose other features and build nearly everything again.
test: check ## everything: check, then all tests beside a RabbitMQ and a PostgreSQL of their own
	deploy/tools.sh
	deploy/postgres.sh with-test-server deploy/rabbitmq.sh with-test-node \
		cargo test --workspace --locked -- --skip torture:: --skip alone::
	$(BUILD_LABS) --test judging
	"$(LAB)" verify $(JUDGED)
	deploy/rabbitmq.sh with-test-node cargo test --workspace --locked --test e2e --test shop -- torture:: alone:: --test-threads 1
	FOURWIRE_TEST_SECURE=1 deploy/rabbitmq.sh with-test-node cargo test --workspace --locked --test e2e -- $(SECURE) --skip swap:: --skip slow_links::a_batch

docs: ## writes the README's decision table from docs/results/figures.json
	docs/tables.py

pictures: ## films the README's pictures from the stack that runs (URL=http://localhost:8080)
	@deploy/tools.sh
	@deploy/tools.sh pictures
	.run/pictures/bin/python docs/pictures.py $(or $(URL),http://localhost:8080)

check: ## format, clippy and docs, with warnings denied
	docs/tables.py --check
	docs/pictures.py --check
	deploy/check.sh
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --workspace --all-targets --locked --features $(FAULTS) -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked

container-test: ## runs compose, Swarm and the systemd units with images built here; needs a container engine and root
	$(BUILD)
	tests/containers/compose.sh "$(RELEASE)"
	tests/containers/swarm.sh "$(RELEASE)"
	tests/containers/systemd.sh "$(RELEASE)"

cluster-test: ## breaks the cluster of deploy/cluster under load (ONLY=text, ROUNDS=n, SEED=n, OUT=page); needs a container engine and root
	@tests/containers/cluster.sh --engine
	$(BUILD)
	tests/containers/cluster.sh "$(RELEASE)" $(if $(ONLY),--only "$(ONLY)") $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(SEED),--seed $(SEED)) $(if $(OUT),--out "$(OUT)")

schemathesis: ## runs Schemathesis, which generates requests from /openapi.json, against a stack of its own
	deploy/tools.sh schemathesis
	SCHEMATHESIS=$(CURDIR)/.run/schemathesis/bin/schemathesis deploy/rabbitmq.sh with-test-node \
		cargo test --workspace --locked --test e2e -- --ignored --nocapture openapi::a_foreign_test_suite

torture: ## breaks the stack under load, over and over (ONLY=name of a trial, ROUNDS=n, SEED=n)
	deploy/tools.sh
	deploy/postgres.sh install
	cargo build --release --workspace --locked --bin torture
	deploy/rabbitmq.sh with-test-node "$(RELEASE)/torture" \
		$(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED))
	$(if $(ONLY),,cargo test --release --workspace --locked --test shop -- --ignored --nocapture over_30_kills)

compare: ## measures the four transports side by side, about 15 minutes after the build (ARGS=--quick, --full, faults, peer)
	@deploy/rabbitmq.sh install
	$(BUILD)
	$(if $(filter peer,$(ARGS)),deploy/tools.sh packages && tools/compare/peer/build.sh "$(RELEASE)")
	@"$(RELEASE)/compare" $(ARGS)

claims: ## measures what the course's lectures claim, in about five minutes (ARGS="--only 4"): docs/claims.md
	@deploy/rabbitmq.sh install
	cargo build --release --workspace --bins --locked
	@"$(RELEASE)/compare" claims $(ARGS)

fuzz: ## fuzzes each decoder of untrusted input (TARGET=name of one, SECONDS=600 for each)
	@tools/fuzz/run.sh "$(TARGET)" $(SECONDS)

certs: ## creates a CA and certificates for development, in .run/certs
	@cargo run --locked -p certs

bench: ## what reading, writing, committing and tracing an entry costs in CPU time
	cargo bench --locked -p proto --bench wire
	cargo bench --locked -p logger --bench commit
	TRACES=off cargo bench --locked -p spans --bench against_tracing_opentelemetry
	cargo bench --locked -p spans --bench against_tracing_opentelemetry

bench-store: ## what reading costs in a store of a thousand entries and of ten million (STORE=postgres)
	$(if $(filter postgres,$(STORE)),deploy/postgres.sh with-test-server )cargo bench --locked -p logger --bench read_cost -- \
		$(if $(STORE),--store $(STORE)) $(ARGS)
