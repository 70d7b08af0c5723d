"""Tasks for developers: `nox -s check`, `nox -s test`, `nox -s test-all`, `nox -s tables`.

They run in the environment that nox itself is installed in (see CONTRIBUTING.md), so nothing is installed twice.
"""

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["check", "test"]


@nox.session
def check(session: nox.Session) -> None:
    """Run the linters, the type checker, the import contracts and the check of generated tables."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports", "--no-cache")
    session.run("python", "-m", "tools.docs.tables", "--check")


@nox.session
def test(session: nox.Session) -> None:
    """Run the quick tests; arguments go to pytest."""
    session.run("pytest", "-m", "not slow and not browser", *(session.posargs or ["-n", "2", "--dist", "loadfile"]))


@nox.session(name="test-all")
def test_all(session: nox.Session) -> None:
    """Run all tests; arguments go to pytest."""
    session.run("pytest", *(session.posargs or ["-n", "2", "--dist", "loadfile"]))


@nox.session
def tables(session: nox.Session) -> None:
    """Write the generated tables and figures of README.md, docs/ and models/README.md."""
    session.run("python", "-m", "tools.docs.tables")
