# make demo   run the demo          make demo-oct   run that of serial sections
# make setup  only set up           make test       run every test
#                                   make quick      only the fast tests
.PHONY: setup demo demo-oct test quick lint test-cluster bench clean
SHELL := /bin/bash
VENV := .venv/bin
export PATH := $(CURDIR)/$(VENV):$(PATH)

setup:
	@tools/setup.sh

demo: setup
	NXF_SYNTAX_PARSER=$${NXF_SYNTAX_PARSER:-v2} nextflow run main.nf -profile demo --outdir results/demo -resume

OCT := results/demo-oct
PROFILES := conservative aggressive minimal

demo-oct: setup
	voxelmill make-oct $(OCT)/made
	NXF_SYNTAX_PARSER=$${NXF_SYNTAX_PARSER:-v2} nextflow run main.nf --workflow mosaic --input $(OCT)/made/raw --axial_resolution 10 --exclude_first_slices 0 \
	    --generate_aips --generate_previews --outdir $(OCT)/mosaic -resume
	set -e; for profile in $(PROFILES); do \
	    NXF_SYNTAX_PARSER=$${NXF_SYNTAX_PARSER:-v2} nextflow run main.nf --workflow reconstruct -profile $$profile --strict --input $(OCT)/mosaic --subject_name demo \
	        --stitch_overlap_fraction 0.25 --registration_slicing_interval_mm 0.16 --common_space_preview --interpolation_preview \
	        --align_to_ras_enabled --atlas $(OCT)/made/atlas.nii.gz --ras_input_orientation PIR --allen_registration_level 1 --ras_initial_rotation '0 0 0' --nifti \
	        --outdir $(OCT)/$$profile -resume; \
	done
	@voxelmill score-oct $(OCT)/made $(addprefix $(OCT)/,$(PROFILES))

lint: setup
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	$(VENV)/voxelmill schema
	nextflow lint main.nf nextflow.config workflows modules conf

# A file's tests have one worker, so that a run of the engine that they share is made once. In order: tests/conftest.py has the long ones first.
SIDE_BY_SIDE := -n 2 --dist loadfile --no-loadscope-reorder

test: setup lint
	$(VENV)/pytest $(SIDE_BY_SIDE) -m "not cluster"

quick: setup
	$(VENV)/pytest $(SIDE_BY_SIDE) -m "not slow and not cluster"

test-cluster: setup
	$(VENV)/pytest -m cluster -rs --durations=10 tests/cluster

bench: setup
	$(VENV)/python benchmarks/run.py

clean:
	rm -rf work results .nextflow .nextflow.log*
