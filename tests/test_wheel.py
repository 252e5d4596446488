"""The wheel, built and tried away from the checkout: what is not Python is packed too, and found."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with what the wheel holds."""
    folder = tmp_path_factory.mktemp("wheel")
    build = (
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--wheel-dir",
        str(folder),
        str(ROOT),
    )
    done = subprocess.run([sys.executable, "-m", *build], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("hslpy-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_all_that_is_not_python_is_packed(unpacked: Path) -> None:
    data = unpacked / "hslpy/_data"
    packed = {"grammar": data / "grammar", "scripts": data / "scripts", "hslpy": unpacked / "hslpy"}
    for folder, copy in packed.items():
        here = [file.relative_to(ROOT / folder) for file in (ROOT / folder).rglob("*") if file.is_file()]
        kept = [path for path in here if path.suffix != ".pyc"]
        assert kept and not [str(path) for path in kept if not (copy / path).is_file()]
    assert (unpacked / "hslpy/rate/ring.lua").is_file()
    assert not (unpacked / "tests").exists()


def test_packaged_scripts_check_without_the_checkout(unpacked: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(unpacked), "XDG_STATE_HOME": str(tmp_path)}

    def run(*words: str) -> str:
        done = subprocess.run([sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert run("-c", "import hslpy; print(hslpy.__file__)").startswith(str(unpacked))
    hooks = run(
        "-c", "from hslpy.startup import packaged_hooks; print(*(f for fs in packaged_hooks().values() for f in fs))"
    ).split()
    assert hooks and all(file.startswith(str(unpacked)) for file in hooks)
    run("-m", "hslpy", "check", *hooks)
