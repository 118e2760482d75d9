# make demo   set everything up and run the main job: teacher, student alone, student distilled
# make demo-det  the same for detection: boxes, by four methods (half an hour)
# make demo-3d   the same for 3D detection: a LiDAR detector teaches one of cameras (40 minutes)
# make deploy  after make demo: export its student to ONNX, compare it with PyTorch, and report
# make test   set everything up and run the tests; those of the operators three times: on the CPU
#             kernels, on the CUDA sources emulated on the CPU (their kernels in three orders of
#             threads), and on the PyTorch reference
# make setup  only set up (.venv; VENV=path for an environment of your own)
# make lint   ruff, and the check that tables and metafiles agree
# make table  rewrite the generated tables from the metafiles
# make sanitize  the operators' fuzz tests under AddressSanitizer and UndefinedBehaviorSanitizer
# make bench  time and measure losses, a training step and operators against what else there is
# make zoo    try every distinct model of mmseg's, mmdet's and mmdet3d's zoos as student and
#             teacher (40 minutes)
# make clean  remove .venv and work_dirs (not the mmcv wheel in ~/.cache/mmkd)
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
SIDE_BY_SIDE = -n auto --dist worksteal
# What the order of emulated threads cannot change
NO_KERNELS = library or mmcv or mmdet3d or opcheck or gradcheck or refuse

.PHONY: setup demo demo-det demo-3d deploy test sanitize lint table bench zoo clean
setup:
	@$(PYTHON) tools/dev/setup_env.py --venv $(VENV)

demo: setup
	$(BIN)/python tools/demo.py

demo-det: setup
	$(BIN)/python tools/demo.py --task det

demo-3d: setup
	$(BIN)/python tools/demo.py --task det3d

deploy: setup
	$(BIN)/python tools/deploy.py --demo

test: setup
	$(BIN)/python -m pytest tests $(SIDE_BY_SIDE)
	MMKD_OPS=emulated $(BIN)/python -m pytest tests/ops -m "not slow" $(SIDE_BY_SIDE)
	for order in descending shuffled; do MMKD_OPS=emulated MMKD_EMULATED_ORDER=$$order \
		$(BIN)/python -m pytest tests/ops -m "not slow" -k "not ($(NO_KERNELS))" \
		$(SIDE_BY_SIDE) || exit 1; done
	MMKD_OPS=reference $(BIN)/python -m pytest tests/ops -m "not slow" $(SIDE_BY_SIDE)

sanitize: setup
	$(BIN)/python tools/dev/sanitize_ops.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/python tools/report.py --check

table: setup
	$(BIN)/python tools/report.py

bench: setup
	$(BIN)/python benchmarks/losses.py
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/detection_step.py
	$(BIN)/python benchmarks/bev_step.py
	$(BIN)/python benchmarks/ops.py
	$(BIN)/python tools/report.py

zoo: setup
	$(BIN)/python tools/dev/zoo.py --jobs 2
	$(BIN)/python tools/report.py

clean:
	rm -rf .venv build dist *.egg-info work_dirs/*
