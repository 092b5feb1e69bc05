# `make demo` and `make test` need a Python of 3.10 or newer and a package index; nothing else.
# A fresh environment takes minutes, mostly torch; where only a CPU is wanted, name PyTorch's CPU
# index in PIP_EXTRA_INDEX_URL to download a tenth of it.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
OUT ?= out/demo

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/installed.stamp
# Two worker processes with one thread each: pools that wait busily slow each other down.
ONE_THREAD := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE NUMBA_NUM_THREADS=1
CODE := hrnfit tests benchmarks priors docs notebooks

.PHONY: demo test install lint types tests format bench wheel clean

demo: $(STAMP)
	$(BIN)/hrnfit demo --out $(OUT)

# pytest stands last: its closing line says how many tests ran, and it fails when none did.
test: lint types tests

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/nbstripout --verify notebooks/*.ipynb

types: $(STAMP)
	$(BIN)/pyright

tests: $(STAMP)
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(JOBS) --dist worksteal --durations 15 $(ARGS)

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/nbstripout notebooks/*.ipynb

bench: $(STAMP)
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.accuracy

wheel: $(STAMP)
	$(BIN)/python -m hatchling build -t wheel

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt Makefile
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "hrnfit needs Python 3.10 or newer; say make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt pip setuptools wheel pybind11
	$(PIP) install -q -c constraints.txt torch
	$(PIP) install -q -c constraints.txt -e ".[dev]"
	@$(MAKE) --no-print-directory needed theseus detector
	@touch $@

# Theseus builds only beside an installed torch, and its declared requirements drag in an old one;
# those of MediaPipe would bring a second OpenCV and JAX. Both run without. What they do need was
# installed before, since pip warns of the missing rest at every later call.
.PHONY: needed theseus detector
needed:
	@$(PIP) install -q -c constraints.txt urdf-parser-py lxml \
	  protobuf absl-py flatbuffers attrs matplotlib sounddevice

theseus:
	@$(PIP) install -q --no-build-isolation --no-deps -c constraints.txt torchlie torchkin theseus-ai \
	  || echo "NOTE: Theseus could not be installed; the library's own solver stands in for it."

detector:
	@$(PIP) install -q --no-deps -c constraints.txt mediapipe \
	  || echo "NOTE: MediaPipe has no wheel for this Python; give landmarks by --landmarks, or use Python 3.10 to 3.12."

clean:
	rm -rf $(VENV) .cache .pytest_cache .ruff_cache build dist
