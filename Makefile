# Set-up and daily commands; `make help` lists them. Each sets up .venv when it is missing or out of date.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed
LOG := $(VENV)/install.log
PIP := $(RUN) -m pip --disable-pip-version-check

# Chains of the demo are the scripts in docs/chains, but for those that make a paper's table.
CHAINS := $(patsubst docs/chains/%.sh,%,$(filter-out docs/chains/table_%.sh,$(wildcard docs/chains/*.sh)))
CHOSEN = $(or $(DEMO),$(CHAINS))
TABLES := $(subst _,-,$(patsubst docs/chains/%.sh,%,$(wildcard docs/chains/table_*.sh)))
SCALE ?= small
DATA ?=
CHECKPOINTS ?=
DRY_RUN ?=

.PHONY: help setup test test-portable lint demo bench full-size faults golden peers tables $(TABLES)

help:
	@echo "make setup     .venv with everything pinned in requirements.txt (PYTHON=python3.12 for another interpreter)"
	@echo "make test      all tests but the long ones"
	@echo "make test-portable  the same with the kernels of the oldest processors (TESTS=folders for a part)"
	@echo "make demo      every tool on embedded data -> out/demo/report.html (DEMO=$(firstword $(CHAINS)) for one chain: $(CHAINS))"
	@echo "make bench     our code beside a named peer, as ratios (NAME=metrics for some)"
	@echo "make full-size blobgan40 at 256 x 512: seconds and peak memory of each turn, of an inversion and of a search on the CPU (5 GB, minutes)"
	@echo "make peers     compute_fid beside torch-fidelity, clean-fid and prdc on the same features, as a table"
	@echo "make golden    numbers of the original implementations (GOLDEN=folder for more cases)"
	@echo "make faults    every job and every format disturbed in all ways; counts at the end (hours)"
	@echo "make lint      ruff"
	@echo "make tables    the papers' tables: $(TABLES)"
	@echo "               (SCALE=small, or SCALE=paper DATA=folder CHECKPOINTS=folder; DRY_RUN=1 checks these)"

setup: $(STAMP)

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "error: $(PYTHON): not Python 3.11 or later with venv. Install one, or name it: make $(or $(MAKECMDGOALS),setup) PYTHON=python3.12." >&2; exit 2; }
	@echo "Installing what requirements.txt pins into $(VENV), some minutes; pip's output goes to $(LOG)"
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	@if [ -t 1 ]; then \
		while sleep 1; do printf '\r\033[K%.70s' "$$(tail -n 1 $(LOG) 2>/dev/null || true)"; done & \
		trap "kill $$! 2>/dev/null; printf '\r\033[K'" EXIT; \
	fi; \
	$(PIP) install --progress-bar off --requirement requirements.txt --editable . > $(LOG) 2>&1 || { \
		cat $(LOG) >&2; echo "error: the installation failed; the lines above are $(LOG)." >&2; exit 2; }
	@echo "Compiling the functions of UMAP, once"
	@$(RUN) -c 'from tools.process_embeddings.embed import compile_ahead; compile_ahead()'
	@touch $@

# Left out, since each costs seconds: capturing logs, which no test reads, and looking for exceptions in finalisers, which
# are warnings only.
PYTEST := -n 2 -m "not long" -p no:logging -p no:unraisableexception
test: $(STAMP)
	OMP_NUM_THREADS=1 $(RUN) -m pytest $(PYTEST) tests

# The libraries' kernels held down to what every x86-64 processor has: what passes here and there is no luck of one
# machine.
TESTS ?= tests
OLDEST := ATEN_CPU_CAPABILITY=default DNNL_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2
test-portable: $(STAMP)
	$(OLDEST) OMP_NUM_THREADS=1 $(RUN) -m pytest $(PYTEST) $(TESTS)

lint: $(STAMP)
	$(RUN) -m ruff check .

demo: $(STAMP)
	@$(RUN) -m docs.chains.parts.demo $(CHOSEN)
	@$(RUN) -m tools.report out/demo --output out/demo/report.html --title "genprobe demo"
	@echo "The page: $(CURDIR)/out/demo/report.html"

bench: $(STAMP)
	$(RUN) -m tests.bench $(NAME)

full-size: $(STAMP)
	mkdir -p out/full_size
	$(RUN) -m tests.bench.full_size --picture out/full_size/picture.png
	$(RUN) -m tests.bench.full_size_cf

# Other programs' own functions on the same features; they stay apart from .venv, whose packages they use.
PEERS := torch-fidelity==0.4.0 prdc==0.2
peers: $(STAMP)
	test -x .peers/bin/python || $(RUN) -m venv .peers
	$(RUN) -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$$(.peers/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/genprobe.pth"
	.peers/bin/python -m pip --disable-pip-version-check install --quiet --no-deps $(PEERS)
	.peers/bin/python -m tests.peers.metrics

golden: $(STAMP)
	$(RUN) -m tests.golden tests/golden $(GOLDEN)

faults: $(STAMP)
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 -m long tests/faults tests

tables: $(TABLES)
	$(RUN) -m docs.chains.parts.measured write out docs/reproduce.md

$(TABLES): $(STAMP)
	SCALE="$(SCALE)" DATA="$(DATA)" CHECKPOINTS="$(CHECKPOINTS)" DRY_RUN="$(DRY_RUN)" PYTHON=$(RUN) bash docs/chains/$(subst -,_,$@).sh
