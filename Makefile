# Stowage. Needs GNU make and Python 3.11 or newer; everything else is made in .venv/.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:

VENV := .venv
PY := $(VENV)/bin/python
ENSURE := sh .ci/ensure-env
TESTS ?=
BENCH ?=
CHROMIUM = $$(sh .ci/find-chromium)

.PHONY: help run test test-postgres screens contract hostile lint types contracts check demo bench bench-scale bench-storage bench-web interop torture \
        oldest wheel translations lock clean s3 storage-test storage-info storage-usage storage-cleanup storage-link \
        storage-backup

help:  ## show this list
	@printf 'Stowage: one console for every place your files live.\n\n'
	@sed -n 's/^\([a-z0-9-]*\)[a-z -]*:.*## \(.*\)$$/  make \1	\2/p' Makefile | expand -t 22

run:  ## make the environment if needed and start the console
	@$(ENSURE) requirements.lock
	@exec $(PY) -m dashboard run

# Tests are compiled once, while other things are fetched, and not by each worker; programs under test never twice.
unexport PYTHONDONTWRITEBYTECODE
test:  ## install what the tests need and run them all
	@$(ENSURE) requirements-dev.lock
	@$(PY) -m pytest --collect-only -qq >/dev/null 2>&1 &
	@sh .ci/install-azurite & azurite=$$!; \
	  sh .ci/find-chromium --install >/dev/null && sh .ci/install-clamd; found=$$?; wait $$azurite; exit $$found
	@STOWAGE_TEST_CHROMIUM="$(CHROMIUM)" $(PY) -m pytest -n 3 --dist worksteal -m "not torture and not interop" $(TESTS)

test-postgres:  ## run the tests of services and pages with every console on PostgreSQL
	@$(ENSURE) requirements-dev.lock
	@STOWAGE_TEST_POSTGRESQL=1 $(PY) -m pytest -n 2 -m "not torture and not interop and not browser" \
	  tests/services tests/web $(TESTS)

contract:  ## run the conformance suite over every backend and write docs/backends.md
	@$(ENSURE) requirements-dev.lock
	@sh .ci/install-azurite
	@$(PY) -m tests.storage.contract.matrix

hostile:  ## tell every lie to every driver and write docs/hostile-servers.md
	@$(ENSURE) requirements-dev.lock
	@$(PY) -m tests.storage.hostile.lies

screens:  ## take the pictures in docs/screens/ again
	@$(ENSURE) requirements-dev.lock
	@sh .ci/find-chromium --install >/dev/null
	@STOWAGE_TEST_CHROMIUM="$(CHROMIUM)" $(PY) -m tests.browser.screens.pictures

lint:  ## check style and formatting
	@$(ENSURE) requirements-dev.lock
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

types:  ## check the type annotations
	@$(ENSURE) requirements-dev.lock
	@$(PY) -m mypy

contracts:  ## check which room imports which
	@$(ENSURE) requirements-dev.lock
	@$(PY) -c 'from importlinter.cli import lint_imports_command as c; c()'

check: lint types contracts test oldest  ## lint, types, contracts, tests and the oldest packages

demo:  ## a console with a local S3 server, two backends and sample files
	@$(ENSURE) requirements-dev.lock
	@exec $(PY) -m tests.demo

s3:  ## a local S3 server with a bucket; prints the variables to set
	@$(ENSURE) requirements-dev.lock
	@exec $(PY) -m tests.local_s3

storage-test storage-info storage-usage storage-cleanup:  ## stowage storage test, info, usage and cleanup of this checkout
	@$(ENSURE) requirements.lock
	@$(PY) -m dashboard storage $(@:storage-%=%)

storage-link storage-backup:  ## stowage storage link and backup (TO=path)
	@$(ENSURE) requirements.lock
	@$(PY) -m dashboard storage $(@:storage-%=%) "$(TO)"

bench:  ## measure copying against rclone and s5cmd, near, 20 ms away and over TLS (BENCH="--only small,20ms")
	@$(ENSURE) requirements-dev.lock
	@exec $(PY) -m bench $(BENCH)

bench-scale:  ## measure planning a migration of a million objects, and carriers (BENCH=--quick)
	@$(ENSURE) requirements-dev.lock
	@exec $(PY) -m bench.scale $(BENCH)

bench-storage:  ## measure every driver against its vendor's SDK (BENCH="--driver s3 --rounds 5")
	@$(ENSURE) requirements-dev.lock
	@sh .ci/install-azurite
	@exec $(PY) -m bench.storage $(BENCH)

bench-web:  ## measure pages and files beside slow readers, with 1,000,000 catalogued files (BENCH=--quick)
	@$(ENSURE) requirements-dev.lock
	@$(PY) -m bench.web $(BENCH)
	@$(PY) -m bench.watching $(filter --quick,$(BENCH))
	@exec $(PY) -m bench.uploads $(filter --quick,$(BENCH))

interop:  ## round trips and the conformance suite against servers of other makes
	@$(ENSURE) requirements-dev.lock
	@sh .ci/install-interop
	@$(PY) -m tests.storage.interop $(TESTS)

torture:  ## the long kill tests
	@$(ENSURE) requirements-dev.lock
	@$(PY) -m pytest -m torture $(TESTS)

wheel:  ## build dist/stowage-*.whl
	@$(ENSURE) requirements-dev.lock
	@$(PY) -m build --wheel --no-isolation

oldest: wheel  ## use everything with the oldest packages that the wheel accepts
	@$(ENSURE) requirements-oldest.lock $(VENV)/oldest
	@$(VENV)/oldest/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall \
	  --no-index dist/stowage-*.whl
	@cd dist && ../$(VENV)/oldest/bin/python -W error ../tests/packaging/everything.py

translations:  ## collect new texts into the catalogs of translations
	@$(ENSURE) requirements-dev.lock
	@$(PY) -m tests.web.language.messages
	@$(PY) -m tests.web.language.extraction

lock:  ## make the lock files again (needs uv)
	@command -v uv >/dev/null || { echo 'make lock needs uv: https://docs.astral.sh/uv/' >&2; exit 1; }
	@uv pip compile $(LOCK) -o requirements.lock pyproject.toml
	@uv pip compile $(LOCK) -o requirements-dev.lock -c requirements.lock --extra dev --extra bench pyproject.toml
	@uv pip compile $(LOCK) -o requirements-oldest.lock --resolution lowest-direct pyproject.toml

LOCK = --quiet --universal --python-version 3.11 --generate-hashes --no-header \
       --no-emit-index-url --no-emit-find-links

clean:  ## remove everything made here except instance/
	@rm -rf $(VENV) .demo dist build bench/results .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	        .import_linter_cache
	@find dashboard tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
