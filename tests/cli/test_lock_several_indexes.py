"""`envcompile lock` with several indexes, all on the loopback interface, by either resolver."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from envcompile.lock.reader import parse_lock
from envcompile.resolve.pip.pip_tools import find_running_interpreter
from tests.kit.index import Index, Wheel, served
from tests.kit.project import FIXTURES

if TYPE_CHECKING:
    from pathlib import Path

HERE = find_running_interpreter()
CANARY = "c4nary-p4ssword"
PUBLIC = (Wheel("nets", "1.0", ("acme-core", "torch")), Wheel("acme-core", "9.0"), Wheel("torch", "9.0"))
CORP = (Wheel("acme-core", "1.0"), Wheel("nets", "9.0"), Wheel("torch", "8.0"))
CPU = (Wheel("torch", "2.9.1+cpu", ("small",)), Wheel("nets", "8.0"))

pytestmark = pytest.mark.skipif(not HERE.glibc, reason="pip-tools resolves for CPython on Linux with glibc only")
needs_pip_tools = pytest.mark.skipif(not find_spec("piptools"), reason="pip-tools is not installed")
RESOLVERS = ["uv", pytest.param("pip-tools", marks=needs_pip_tools)]


def spec(default: str, corp: str, cpu: str, resolver: str) -> str:
    digest = 64 * "a"
    return f"""
name = "x"
python = "{HERE.python}"
platforms = ["{"linux-64" if HERE.machine == "x86_64" else "linux-aarch64"}"]
[pip]
packages = ["nets"]
resolver = "{resolver}"
{default}
extra-indexes = [
    {{ name = "corp", url = "{corp}", packages = ["acme-*"] }},
    {{ name = "torch-cpu", url = "{cpu}", packages = ["torch"] }},
]
[image.base]
image = "x@sha256:{digest}"
os = "debian-12"
glibc = "{HERE.glibc}"
python = "{HERE.python}"
python-path = "/p"
[tools]
uv = "uv@sha256:{digest}"
"""


def envcompile(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    plain = {"PATH": os.environ["PATH"], "HOME": str(folder), "UV_CACHE_DIR": str(folder.parent / "cache")}
    return subprocess.run(
        [sys.executable, "-m", "envcompile", *words],
        cwd=folder,
        capture_output=True,
        check=False,
        encoding="utf-8",
        env={**plain, **environment},
    )


def found(text: str | bytes) -> bool:
    """Whether the canary is in it, plain or as basic authentication writes it."""
    data = text.encode() if isinstance(text, str) else text
    return CANARY.encode() in data or base64.b64encode(f"me:{CANARY}".encode()) in data


@pytest.mark.parametrize("resolver", RESOLVERS)
def test_the_lock_says_where_from_and_what_is_private_and_never_the_password(tmp_path: Path, resolver: str) -> None:
    """Promise 10: nothing leaks."""
    folder = tmp_path / "project"
    folder.mkdir()
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {CANARY}\n")
    netrc.chmod(0o600)
    corp, cpu = Index(CORP, password=CANARY), Index(CPU, html=True, root="/whl/cpu", files="/whl/cpu")
    with served(Index((*PUBLIC, Wheel("small", "1.0")))) as public, served(corp), served(cpu):
        text = spec(f'index = "{public.url()}"', corp.url(), cpu.url(), resolver)
        (folder / "envcompile.toml").write_text(text, "utf-8")
        locked = envcompile(folder, "lock", "-v", NETRC=str(netrc))
        assert locked.returncode == 0, locked.stderr
        written = (folder / "envcompile.lock").read_text("utf-8")
        lock = parse_lock(written, "x")
        assert [(each.name, each.version, each.index) for each in lock.platforms[0].pip] == [
            ("acme-core", "1.0", "corp"),
            ("nets", "1.0", "default"),
            ("small", "1.0", "default"),
            ("torch", "2.9.1+cpu", "torch-cpu"),
        ]
        assert lock.private_indexes == ("corp",)
        assert not re.search(r"^ .*sha256.*127\.0\.0\.1", written, re.MULTILINE), "a file is named by its hash alone"
        emitted = envcompile(folder, "dockerfile")
        assert emitted.stdout.count("id=netrc") == emitted.stdout.count("id=uv-credentials") == 2
        assert f"--index-url {cpu.url()}\ntorch==2.9.1+cpu --hash=sha256:{CPU[0].sha256()}\n" in emitted.stdout
        again = envcompile(folder, "lock", "--check", NETRC=str(netrc))
        assert again.returncode == 0, again.stderr
        said = [locked.stderr, locked.stdout, emitted.stdout, emitted.stderr, again.stderr]
        corp.password = "another"
        refused = envcompile(folder, "lock", "-v", "-U", NETRC=str(netrc))
        assert refused.returncode == 3, refused.stderr
        said += [refused.stdout, refused.stderr]
    assert not any(map(found, said)), said
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path != netrc]
    assert folder / "envcompile.lock" in files
    assert [path for path in files if found(path.read_bytes())] == []


@pytest.mark.index
@pytest.mark.parametrize("resolver", ["uv", pytest.param("pip-tools", marks=[needs_pip_tools, pytest.mark.long])])
def test_the_ml_example_with_torch_for_the_cpu(tmp_path: Path, resolver: str) -> None:
    """torch from an index laid out as PyTorch's, all the rest of a large environment from the real one."""
    example = (FIXTURES.parent / "examples/ml/envcompile.toml").read_text("utf-8")
    packages = example.partition("packages = [")[2].partition("]")[0]
    torch = Wheel("torch", "2.9.1+cpu", ("sympy >=1.13", "networkx"))
    with served(Index((torch, Wheel("numpy", "99.0")), html=True, root="/whl/cpu", files="/whl/cpu")) as cpu:
        text = spec("", "https://corp.example.invalid", cpu.url(), resolver)
        text = text.replace('["nets"]', f'["torch",{packages}]')
        (tmp_path / "envcompile.toml").write_text(text, "utf-8")
        done = envcompile(tmp_path, "lock", **{**os.environ, "HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    lock = parse_lock((tmp_path / "envcompile.lock").read_text("utf-8"), "x")
    versions = {each.name: (each.version, each.index) for each in lock.platforms[0].pip}
    assert versions["torch"] == ("2.9.1+cpu", "torch-cpu")
    assert {index for name, (_, index) in versions.items() if name != "torch"} == {"default"}
    assert {"sympy", "networkx", "numpy"} <= set(versions)
    assert len(versions) > 50
    assert all("/torch" in path for path in cpu.asked)
