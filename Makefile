# Every target has its line for `make help` behind two number signs.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# What breaks promises on purpose, so that the checkers are seen to notice.
FAULTS := logger/faults
.PHONY: help run demo test check torture bench-store

help: ## lists the targets
	@awk -F ':' '/^[a-z][a-z-]*:/ { name = $$1; sub(/^[^#]*(## )?/, ""); printf "  make %-12s %s\n", name, $$0 }' Makefile

run: ## RabbitMQ, logger, listener and broker, until Ctrl-C
	@exec deploy/run.sh

demo: ## sends an entry over each transport to the stack that runs, and reads each back
	@cargo build --release --locked --bins
	@target/release/demo

test: check ## everything: check, then all tests beside a RabbitMQ of their own
	deploy/strace.sh
	deploy/rabbitmq.sh with-test-node cargo test --workspace --locked

check: ## format, clippy and docs, with warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --workspace --all-targets --locked --features $(FAULTS) -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked

torture: ## breaks the stack under load, over and over (ONLY=name of a trial, ROUNDS=n, SEED=n)
	deploy/strace.sh
	deploy/rabbitmq.sh with-test-node cargo run --release --quiet --locked -p tests --bin torture -- \
		$(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED))

bench-store: ## what reading costs in a store of a thousand entries and of ten million
	cargo bench --locked -p logger --bench read_cost
