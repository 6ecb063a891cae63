"""Compiling the kernel: what it says where it cannot, and that installing goes on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from demo_control.rollout.native import build as build_module
from demo_control.rollout.native.build import BuildError, build, find_compiler, is_current, sources
from demo_control.rollout.native.library import Kernel

MAXIMUM_LINES = 400


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -O3")
    with pytest.raises(BuildError, match="CXX = 'no-such-compiler': no such program"):
        build(tmp_path / "_kernel.so")
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"no C\+\+ compiler: none of c\+\+, g\+\+, clang\+\+ is installed"):
        find_compiler()


def test_a_compiler_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = tmp_path / "broken"
    compiler.write_text("#!/bin/sh\necho 'kernel.cpp:1: error: no such luck' >&2\nexit 3\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(BuildError, match=r"failed with code 3: kernel\.cpp:1: error: no such luck"):
        build(tmp_path / "library" / "_kernel.so")
    assert not list((tmp_path / "library").iterdir())


def test_a_current_library_is_left_alone(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_current(kernel.path)
    monkeypatch.setenv("CXX", "no-such-compiler")
    build(kernel.path)
    monkeypatch.setattr(build_module, "sources_hash", lambda: "0" * 32)
    assert not is_current(kernel.path)


def test_installing_goes_on_without_compiler(tmp_path: Path) -> None:
    """setup.py's extension is optional."""
    script = tmp_path / "setup.py"
    # Sources alone: a library that lies beside them, up to date, would be taken.
    sources = Path(build_module.__file__).parent
    package = tmp_path / "native" / "build.py"
    shutil.copytree(sources, package.parent, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    script.write_text(
        "import runpy\nfrom setuptools import setup\n"
        f"kernel = runpy.run_path({str(package)!r})\n"
        "setup(name='tried', version='1', packages=[], **kernel['setuptools_arguments']('demo_control'))\n"
    )
    result = subprocess.run(
        [sys.executable, str(script), "build_ext", "--build-lib", str(tmp_path / "lib")],
        cwd=tmp_path, env={"CXX": "no-such-compiler", "PATH": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "ONNX Runtime and PyTorch take its place. CXX = 'no-such-compiler': no such program" in result.stdout


def test_a_compiler_without_an_instruction_set_builds_the_others(tmp_path: Path) -> None:
    """As one that is older than the matrix unit."""
    (compiler, *_) = find_compiler()
    old = tmp_path / "old"
    old.write_text(
        f'#!/bin/sh\nfor option; do case "$option" in -mamx*) echo "error: $option" >&2; exit 1;; esac; done\n'
        f'exec {compiler} "$@"\n'
    )
    old.chmod(0o755)
    expected = [name for name in build_module.variants([compiler]) if name != "amx"]
    assert list(build_module.variants([str(old)])) == expected
    assert "baseline" in expected


def test_sources_stay_readable() -> None:
    assert {path.suffix for path in sources()} == {".cpp", ".hpp", ".py"}
    assert all(len(path.read_text().splitlines()) <= MAXIMUM_LINES for path in sources())


def test_variants_never_share_a_function(tmp_path: Path) -> None:
    """Each instruction set's code is its own: a shared inline function would run on processors it is not for."""
    for header in build_module.SOURCES.glob("*.hpp"):
        included = [line for line in header.read_text().splitlines() if line.startswith("#include <")]
        assert set(included) <= {
            "#include <immintrin.h>",
            "#include <math.h>",
            "#include <stdint.h>",
            "#include <stddef.h>",
        }, header
