from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agentdyno.stand import installation
from agentdyno.stand.installation import litellm_finding, local_model_finding, python_finding


def test_litellm_is_the_pinned_one_and_compiled() -> None:
    assert litellm_finding().state == "ok"


def test_another_litellm_is_no_version_that_rows_were_verified_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "version", lambda _: "1.0.0")

    finding = litellm_finding()

    assert finding.state == "warning"
    assert finding.found.startswith("1.0.0, though rows are verified with 1.")
    assert finding.mend is not None
    assert finding.mend.startswith("install litellm[proxy]==1.")


def test_a_litellm_that_is_not_compiled_starts_slowly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path))

    finding = litellm_finding()

    assert (finding.state, "not byte-compiled" in finding.found) == ("warning", True)
    assert finding.mend is not None
    assert finding.mend.startswith(f"{sys.executable} -m compileall -q /")


def test_parts_of_the_local_model_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "_LOCAL_PARTS", {"no_such_package": "runtime"})

    assert local_model_finding().found == "not installed: runtime (no_such_package)"


def test_a_python_that_is_too_new(monkeypatch: pytest.MonkeyPatch) -> None:
    assert python_finding().state == "ok"

    monkeypatch.setattr(installation, "_PYTHONS", ((3, 7), (3, 8)))

    assert (python_finding().state, python_finding().mend) == ("fault", "install agentdyno with Python 3.7 to 3.8")
