# PACELINE_WITH=torch,horovod limits the set-up; ARGS="-k name" goes to pytest, or --upgrade to locks.
.PHONY: setup check test bench proof demo locks

setup:
	@bench/setup/ready.sh --retry

check:
	@bench/setup/ready.sh dev
	@.venv/bin/ruff format --check . && .venv/bin/ruff check .
	@.venv/bin/mypy && .venv/bin/lint-imports && .venv/bin/python -P bench/setup/audit.py

test:
	@bench/setup/ready.sh dev
	@.venv/bin/python -P tests/run.py $(ARGS)

bench:
	@bench/setup/ready.sh dev
	@.venv/bin/python -P tests/benchmarks/overhead.py $(ARGS)
	@.venv/bin/python -P tests/benchmarks/allreduce.py && .venv/bin/python -P tests/benchmarks/rendering.py

proof:
	@bench/setup/ready.sh dev
	@nice .venv/bin/python -P tests/proof/prove.py $(ARGS)

demo:
	@./horovodrun.sh -np 2 --quick

locks:
	@bench/setup/ready.sh dev
	@.venv/bin/python -P bench/setup/lock.py $(ARGS)
