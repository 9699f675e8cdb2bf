# Every target works from a bare clone with python3 (3.11 to 3.13), pip and make; what it needs goes into .venv.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: demo test test-portable lint docs bench scoreboard torture dist clean

demo: $(VENV)/installed
	$(RUN) -m rankless demo

test: $(VENV)/dev
	$(RUN) -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# as on a processor without AVX-512, where NumPy orders ties and rounds powers otherwise
test-portable: $(VENV)/dev
	NPY_DISABLE_CPU_FEATURES="$$($(RUN) .ci/avx512.py)" $(RUN) -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pyright --pythonpath $(RUN)

docs: $(VENV)/docs
	NO_MKDOCS_2_WARNING=1 OMP_NUM_THREADS=1 $(RUN) -m mkdocs build --strict --quiet

bench: $(VENV)/bench
	$(RUN) -m benchmarks

scoreboard: $(VENV)/bench
	$(RUN) -m benchmarks.scoreboard

torture: $(VENV)/torture
	$(RUN) -m torture

# the source archive, and the wheel that is built from it
dist: $(VENV)/build
	rm -rf dist
	$(RUN) -m build

clean:
	rm -rf $(VENV) build dist out

# A stamp file says what is installed; a changed pyproject.toml makes it stale.
$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else f"rankless needs Python 3.11 to 3.13, $(PYTHON) is {v[0]}.{v[1]}; run make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --editable .
	touch $@

$(VENV)/build: | $(VENV)/bin/python
	$(RUN) -m pip install --quiet 'build>=1.2'
	touch $@

$(VENV)/dev: $(VENV)/installed
	$(RUN) -m pip install --quiet --editable '.[all,dev]'
	touch $@

$(VENV)/docs: $(VENV)/dev
	$(RUN) -m pip install --quiet --editable '.[docs]'
	touch $@

$(VENV)/bench: $(VENV)/dev
	$(RUN) -m pip install --quiet --editable '.[bench]'
	touch $@

$(VENV)/torture: $(VENV)/dev
	$(RUN) -m pip install --quiet --editable '.[torture]'
	touch $@
