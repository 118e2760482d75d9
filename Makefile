# make demo   set everything up and run the main job: teacher, student alone, student distilled
# make test   set everything up and run the tests
# make setup  only set up (.venv; VENV=path for an environment of your own)
# make lint   ruff, and the check that tables and metafiles agree
# make table  rewrite the generated tables from the metafiles
# make bench  time and measure the losses against their dense formulas
# make clean  remove .venv and work_dirs (not the mmcv wheel in ~/.cache/mmkd)
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: setup demo test lint table bench clean
setup:
	@$(PYTHON) tools/dev/setup_env.py --venv $(VENV)

demo: setup
	$(BIN)/python tools/demo.py

test: setup
	$(BIN)/python -m pytest tests

lint: setup
	$(BIN)/ruff check .
	$(BIN)/python tools/report.py --check

table: setup
	$(BIN)/python tools/report.py

bench: setup
	$(BIN)/python benchmarks/losses.py
	$(BIN)/python benchmarks/step.py
	$(BIN)/python tools/report.py

clean:
	rm -rf .venv build dist *.egg-info work_dirs/*
