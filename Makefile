# Everything goes through tools/setup_environment.py: it makes .venv, or what is missing of it.
# PYTHON=/path/to/python3.12 chooses the interpreter; TORCH_INDEX_URL chooses where PyTorch comes
# from (https://download.pytorch.org/whl/cpu is small and has no CUDA).

.DEFAULT_GOAL := help
.PHONY: help setup train-setup walk cartpole test clean

# The ROS 2 in .venv must not meet another one that was sourced in this shell.
ifneq ($(AMENT_PREFIX_PATH)$(_ROS_WHEELS_BOOTSTRAP_COMPLETE),)
unexport LD_LIBRARY_PATH
endif
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH
unexport PYTHONHOME PYTHONPATH

SET_UP = tools/setup_environment.py $(if $(PYTHON),--python "$(PYTHON)")
# Any Python can start the script; it looks for one that is supported itself.
START = @command -v python3 >/dev/null || [ -n "$(PYTHON)" ] || \
	{ echo "setup: python3 is missing: sudo apt install python3 python3-venv python3-dev" >&2; exit 1; }; \
	"$(or $(shell command -v python3),$(PYTHON))" $(SET_UP)

help:
	@echo "make setup        the environment in .venv: ROS 2 from PyPI, the packages, the messages"
	@echo "make walk         set-up, then Stoch2: policy alone and with the DeMo Layer, then live over ROS 2"
	@echo "make cartpole     set-up, then the cart-pole: policy alone and with the DeMo Layer"
	@echo "make test         set-up with test tools and PyTorch, then every test"
	@echo "make train-setup  set-up with PyTorch, for 'democtl train'"
	@echo "make clean        remove .venv and out"

setup:
	$(START)

train-setup:
	$(START) --with train

walk: setup
	@.venv/bin/democtl demo stoch2 --out out/walk --json out/walk/result.json

cartpole: setup
	@.venv/bin/democtl demo cartpole

test:
	$(START) --with test --with train
	@.venv/bin/python -m pytest -n 2 --dist loadgroup

clean:
	@rm -rf .venv out
