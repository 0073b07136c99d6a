# make demo   run the demo          make test   run every test
# make setup  only set up           make quick  only the fast tests
.PHONY: setup demo test quick lint test-cluster bench clean
SHELL := /bin/bash
VENV := .venv/bin
export PATH := $(CURDIR)/$(VENV):$(PATH)

setup:
	@tools/setup.sh

demo: setup
	NXF_SYNTAX_PARSER=$${NXF_SYNTAX_PARSER:-v2} nextflow run main.nf -profile demo --outdir results/demo -resume

lint: setup
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	$(VENV)/voxelmill schema
	nextflow lint main.nf nextflow.config workflows modules conf

test: setup lint
	$(VENV)/pytest -n 2 --dist loadgroup -m "not cluster"

quick: setup
	$(VENV)/pytest -n 2 -m "not slow and not cluster"

test-cluster: setup
	$(VENV)/pytest -m cluster -rs --durations=10 tests/cluster

bench: setup
	$(VENV)/python benchmarks/run.py

clean:
	rm -rf work results .nextflow .nextflow.log*
