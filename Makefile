# The contract of this artifact:
#   make reproduce   every table, figure and verdict into results/$(PRESET); what is there and current is kept
#   make test        unit tests, and every notebook with its compared cells
# PRESET=paper (default), quick or smoke; DEVICE=auto (default), cpu or cuda; JOBS=processes, by default one per core.

PRESET ?= paper
DEVICE ?= auto
JOBS   ?=
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python

# nothing is registered or written outside the checkout
export JUPYTER_PREFER_ENV_PATH := 1
export JUPYTER_DATA_DIR    := $(CURDIR)/$(VENV)/share/jupyter
export JUPYTER_CONFIG_DIR  := $(CURDIR)/$(VENV)/etc/jupyter
export JUPYTER_RUNTIME_DIR := $(CURDIR)/$(VENV)/run
export IPYTHONDIR          := $(CURDIR)/$(VENV)/etc/ipython
export MPLCONFIGDIR        := $(CURDIR)/$(VENV)/etc/matplotlib
# modules are compiled once, not in every process
export PYTHONDONTWRITEBYTECODE :=
ifneq ($(JOBS),)
export DNDIV_JOBS := $(JOBS)
endif

.PHONY: reproduce test test-browser setup lint lab check adopt report coverage bench scale reference refresh docs lock clean help

# one word, and one of these: a % would be a pattern on the other side
ifneq ($(words $(PRESET))$(filter-out paper quick smoke,$(PRESET)),1)
$(error unknown PRESET '$(PRESET)'; choose paper, quick or smoke)
endif
ifneq ($(words $(DEVICE))$(filter-out auto cpu cuda,$(DEVICE)),1)
$(error unknown DEVICE '$(DEVICE)'; choose auto, cpu or cuda)
endif

# make knows no preset= but PRESET=, and would begin with hours of the paper's
ifneq ($(filter command,$(foreach name,preset device jobs,$(firstword $(origin $(name))))),)
$(error write PRESET=, DEVICE= and JOBS= in capitals)
endif

reproduce: setup
	@$(PY) -m dndiv reproduce --preset $(PRESET) --device $(DEVICE)

# in one run, so that no core waits; each process has whole files, and one thread
test: setup
	OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --dist loadfile -p tests.first \
	  --nbval-lax --nbval-current-env tests notebooks --ignore tests/browser

# the report, and explore.ipynb in JupyterLab, in Chromium (apt-get install chromium, or
# DNDIV_CHROMIUM=its path); without one this fails
test-browser: setup
	$(PY) -m pytest tests/browser

setup: $(VENV)/ready

# an environment that came along with a copy of the checkout would run the code of the first
MOVED := $(shell [ ! -f $(VENV)/place ] || [ "$$(cat $(VENV)/place)" = "$(CURDIR)" ] || echo moved)
.PHONY: moved
moved:
	@echo "$(VENV) belongs to another checkout and is made anew."; rm -rf $(VENV)

# by uv, in half the time of pip; and by pip where uv cannot, as behind an index that only pip.conf names
$(VENV)/ready: requirements.lock pyproject.toml $(MOVED)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, $(PYTHON) is older: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing the pinned environment into $(VENV): about 6 GB, some minutes."
	@date +%s > $(VENV).started
	$(PYTHON) -m venv $(VENV)
	@sed -n '/^uv==/,/[^\]$$/p' requirements.lock > $(VENV)/uv.lock
	$(PY) -m pip install --quiet --progress-bar off --require-hashes -r $(VENV)/uv.lock
	$(VENV)/bin/uv pip install --quiet --python $(PY) --require-hashes -r requirements.lock || \
	  $(PY) -m pip install --quiet --progress-bar off --no-compile --require-hashes -r requirements.lock
	$(PY) -m pip install --quiet --progress-bar off --no-deps --no-build-isolation -e .
	@echo "$(CURDIR)" > $(VENV)/place
	@echo "$$(( $$(date +%s) - $$(cat $(VENV).started) )) seconds" > $@ && rm -f $(VENV).started

# lint, format and types; `pre-commit install` does the same before every commit
lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# root, as in a container, must say that it means it
lab: setup
	$(VENV)/bin/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks

# the verdicts of a finished run; fails where a decided one is not what claims.yml registers
check: setup
	@$(PY) -m dndiv check --preset $(PRESET) --strict

# README's generated parts, report.html and report.pdf, from the committed reference results
report: setup
	$(PY) -m dndiv report

# the finished paper run, its notebooks, and the last benchmark, become the committed reference
reference: setup
	$(PY) -m dndiv report --promote

# the reference's tables, where your code would compute them alike, are taken as if computed here;
# then `make reproduce` computes what your change is about, in minutes
adopt: setup
	@$(PY) -m dndiv adopt

# how often the intervals cover, simulated from the seeds of the reference; a minute
coverage: setup
	$(PY) -m dndiv coverage --preset reference

# a population against other ways to train its networks, side by side; minutes, best on an idle machine
bench: setup
	@$(PY) -m dndiv bench

# what the finished paper run would wait for on many cores, with units that only sleep; minutes
scale: setup
	@$(PY) -m dndiv scale

# execute the notebook sources and store the outputs of their compared cells
refresh: setup
	$(PY) -m dndiv refresh

# the library's reference, from its docstrings, as pages in build/docs; formulas are typeset by MathJax
docs: setup
	$(PY) -W error::UserWarning:pdoc.doc -c "import dndiv, pdoc.__main__ as p; [getattr(dndiv, n) for n in dndiv.__all__]; p.cli()" \
	  --docformat google --math --output-directory build/docs dndiv

# pins stay where they satisfy pyproject.toml; UPGRADE=--upgrade takes the newest
lock: setup
	$(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url \
	  --no-emit-find-links --custom-compile-command "make lock" $(UPGRADE) --all-extras -o requirements.lock pyproject.toml

clean:
	find results -mindepth 1 -maxdepth 1 ! -name reference -exec rm -rf {} +

help:
	@sed -n '2,4p' Makefile
	@echo "# also: test-browser, setup, lint, lab, check, adopt, report, coverage, bench, scale, reference, refresh, docs, lock, clean"
