# make demo: install, train two small models if they are not there, start the app.   make test, check, format, soak, lock (CONTRIBUTING.md)
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
DEVELOPER := .venv/installed-dev

.PHONY: demo train test check format lock soak clean

demo: train
	$(BIN)/python app.py

train: $(INSTALLED)
	@test -f runs/verses/report.md || $(BIN)/python training/train.py --config configs/gpt/verses.yaml --resume true
	@test -f runs/phrasebook/report.md || $(BIN)/python training/train.py --config configs/translation/phrasebook.yaml --resume true

# An environment without the mark was left half made, perhaps by another Python: it is made anew.
$(INSTALLED): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "$(PYTHON) is not one of Python 3.10 to 3.13; name one that is, e.g. make demo PYTHON=python3.11" >&2; exit 2; }
	@test -f $@ || $(PYTHON) -m venv --clear .venv
	@echo "Installing requirements.txt in .venv: minutes, and with CUDA (on Linux) several GB"
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	@touch $@

$(DEVELOPER): $(INSTALLED) requirements-dev.txt
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# One thread each: two trainings with two threads on two cores wait for each other most of the time (docs/log.md).
test: $(DEVELOPER)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

soak: $(DEVELOPER)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m soak

check: $(DEVELOPER)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEVELOPER)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# With uv on the path (pip install uv). Versions that are in the lock stay, unless requirements.txt says otherwise; UPGRADE=--upgrade takes newer ones.
lock:
	uv pip compile requirements.txt --no-config --universal --python-version 3.10 --generate-hashes $(UPGRADE) --quiet -o requirements.lock

clean:
	rm -rf .venv runs
