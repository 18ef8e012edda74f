# make demo   from nothing to a first result        make test   from nothing to passing tests
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
# torch is needed for development, conversion and GPUs, not for analysis on a CPU. The tested version is asked for
# by name: an open range would fetch several gigabytes of CUDA libraries even where a CPU build is at hand.
TORCH := torch==2.13.0
# What sets the text of PDFs is a system library, which brings its fonts; without it only --pdf does not work.
PANGO := (apt-get update -qq && apt-get install -y -qq libpango-1.0-0 libpangoft2-1.0-0 >/dev/null) \
	|| echo "PDFs need the system library Pango: apt-get install libpango-1.0-0 libpangoft2-1.0-0"

# The page of `covid19net serve`; only where npm is: without it the service says how to build it.
NPM := $(shell command -v npm)
PAGE := src/covid19net/service/page/index.html
FRONTEND := $(shell find frontend -name node_modules -prune -o -type f -print)

# Two processes of tests on two cores: threads of their own for each would wait for each other at full load. A file
# of tests stays with one of them, so that what its tests share is made once.
ONE := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: demo page test test-slow test-viewer train-demo study-demo public-demo lint bench performance keras-oracle clean

$(VENV)/.base: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.base
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	$(BIN)/python -c "import weasyprint" 2>/dev/null || $(PANGO)
	touch $@

demo: $(VENV)/.base
	$(BIN)/covid19net demo --out demo-output

$(PAGE): $(FRONTEND)
	cd frontend && npm ci --no-audit --no-fund && npm run build

page: $(PAGE)

test: $(VENV)/.dev $(if $(NPM),$(PAGE))
	$(ONE) $(BIN)/python -m pytest -m "not slow and not network and not gpu" -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/.dev
	$(ONE) $(BIN)/python -m pytest -m "slow" -n 2

# DICOM results in the viewer OHIF, which is fetched from npm; needs Chromium and Orthanc.
test-viewer: $(VENV)/.dev
	$(BIN)/python -m pytest -m network tests/test_dicom_ohif.py

# The two steps of training on synthetic patients, at reduced size, in under ten minutes on two cores. It learns from
# the hospital with as many patients of both kinds (the paper's first validation set) and is judged on another.
train-demo: $(VENV)/.dev
	$(BIN)/covid19net phantom cohort -o train-output/cohort --seed 7 --scale-of auxiliary=0.01 \
		--scale-of "validation 1=0.75" --scale-of "validation 2=0.4" \
		--set auxiliary --set "validation 1" --set "validation 2"
	$(BIN)/covid19net train auxiliary train-output/cohort/manifest.csv -o train-output/egfr --recipe quick \
		--cache train-output/images
	$(BIN)/covid19net train diagnosis train-output/cohort/manifest.csv -o train-output/covid --recipe quick \
		--set "validation 1" --from train-output/egfr --cache train-output/images

# Every table and figure of the paper from some 230 synthetic patients, in about ten minutes on two cores.
study-demo: $(VENV)/.base
	$(BIN)/covid19net phantom cohort -o study-output/cohort --seed 4 --scale 0.2 --scale-of "validation 3=0.5" \
		--set training --set "validation 1" --set "validation 2" --set "validation 3" --set "validation 4"
	$(BIN)/covid19net study study-output/cohort/manifest.csv -o study-output/study --model penalised

# The recipe of the public collections on phantoms in their layouts: a rehearsal before downloading 500 GB.
public-demo: $(VENV)/.dev
	$(BIN)/python -m tests.miniatures demo-public/downloads
	$(BIN)/covid19net reproduce public --data demo-public/downloads -o demo-public/public --recipe quick \
		--allow-incomplete

lint: $(VENV)/.dev $(if $(NPM),$(PAGE))
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(if $(NPM),cd frontend && npm run check,@echo "npm is not installed: the types of the page were not checked")

# Proof, with real Keras, that imported weights compute what they computed there (1.6 GB, an environment of its own).
.venv-keras/.done: tests/keras_oracle/requirements.txt
	$(PYTHON) -m venv .venv-keras
	.venv-keras/bin/python -m pip install --quiet -r tests/keras_oracle/requirements.txt
	.venv-keras/bin/python -m pip install --quiet --no-deps tf_keras==2.21.0
	touch $@

keras-oracle: $(VENV)/.dev .venv-keras/.done
	.venv-keras/bin/python tests/keras_oracle/build.py build/keras-oracle
	$(BIN)/python tests/keras_oracle/compare.py build/keras-oracle

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/bench_scan.py

# The measured part of docs/performance.md, on this machine; an hour.
performance: $(VENV)/.dev
	$(BIN)/python benchmarks/performance.py

clean:
	rm -rf $(VENV) .venv-keras demo-output train-output study-output demo-public build dist \
		frontend/node_modules src/covid19net/service/page
