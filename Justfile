# `just` alone lints and tests.
set windows-shell := ["powershell.exe", "-NoLogo", "-Command"]

default: lint test

# ruff, mypy --strict, import-linter
lint:
    python .ci/lint.py

# the tests; arguments go to pytest
test *arguments:
    pytest {{arguments}}

# put the code into shape
format:
    ruff check --fix .
    ruff format .

# recorder and stand-in exchange in one go
demo *arguments:
    bmacdb demo {{arguments}}

# measure; arguments go to the suite
bench *arguments:
    python -m benchmarks {{arguments}}

# faults, kills, full disks and a simulated day: half an hour; arguments choose a part (matrix, crashes, interrupted, disk, soak)
soak *arguments:
    python -m tests.trust {{arguments}}

# constraints.txt anew, with the newest versions that pyproject.toml allows; --keep adds only what is missing
constraints *arguments:
    python .ci/constraints.py {{arguments}}
