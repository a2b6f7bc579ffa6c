from __future__ import annotations

import subprocess
import sys

import pytest

from rtseg.errors import BackendError
from rtseg.ops.cuda import module, status

pytest.importorskip("cupy", reason="CuPy with NVRTC is not installed")


ENDS = (75, 120)  # the oldest and the newest family
BETWEEN = "graph_merge"  # what the families between them are tried with: atomics and every shared header


def _compiled() -> list[tuple[str, int]]:
    return [(s, c) for s in module.source_names() for c in module.CAPABILITIES if c in ENDS or s == BETWEEN]


def test_no_source_asks_which_card_it_is_for() -> None:
    # Otherwise each would have to be compiled for every family.
    assert not [source for source in module.source_names() if "__CUDA_ARCH" in module.read_source(source)]


@pytest.mark.parametrize(("source", "capability"), _compiled())
def test_source_compiles(source: str, capability: int) -> None:
    cubin = module.compile_source(source, capability)
    assert cubin[:4] == b"\x7fELF"
    for name in module.kernel_names(source):
        assert name.encode() in cubin


def test_every_kernel_is_found() -> None:
    for source in module.source_names():
        text = (module.FOLDER / f"{source}.cu").read_text()
        assert len(module.kernel_names(source)) == text.count("__global__") > 0


def test_headers_are_put_in_place_once() -> None:
    text = module.read_source("merging")
    assert "#include" not in text
    assert text.count("int find_root(") == 1


def test_compiler_errors_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "read_source", lambda source: "__global__ void broken( {")
    with pytest.raises(BackendError, match=r"expected broken\.cu to compile for sm_90"):
        module.compile_source("broken", 90)


def test_status_bits_match_the_header() -> None:
    header = (module.FOLDER / "common.cuh").read_text()
    bits = {name: value for name, value in vars(status).items() if name.isupper() and not name.startswith("_")}
    assert set(bits.values()) == set(status._SENTENCES)
    for name, value in bits.items():
        assert f"{name} = {value}," in header


def test_importing_needs_no_cupy() -> None:
    code = "import sys, rtseg.ops.cuda; sys.exit('cupy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=300).returncode == 0
