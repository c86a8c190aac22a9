"""Several indexes, credentials, a company's proxy and certificates, in locks and in builds on the real engine."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from envcompile.lock.reader import parse_lock
from tests.cli.test_lock_several_indexes import CANARY, CORP, CPU, PUBLIC, envcompile, found
from tests.kit.engine import docker
from tests.kit.index import Index, Wheel, certificates, proxy, served
from tests.resolve.pip.test_conformance import credentials

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.kit.engine import Engine

pytestmark = pytest.mark.engine

VERSIONS = "import importlib.metadata as m; print(sorted(f'{d.name}=={d.version}' for d in m.distributions()))"


def lock(engine: Engine, folder: Path, pip: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """The Dockerfile of a spec with this `[pip]`, and all that was said on the way."""
    folder.mkdir()
    spec = f'name = "x"\npython = "3.11"\n[pip]\n{pip}\n[image]\nbase = ""\n'
    (folder / "envcompile.toml").write_text(engine.stand_ins(spec), "utf-8")
    locked = envcompile(folder, "lock", "-v", **environment)
    assert locked.returncode == 0, locked.stderr
    emitted = envcompile(folder, "dockerfile")
    assert emitted.returncode == 0, emitted.stderr
    return emitted.stdout, locked.stdout + locked.stderr + emitted.stderr


def build(dockerfile: str, tag: str, *options: str, check: bool = True) -> str:
    """Build from standard input; all that the builder says.

    Not with `--no-cache`, which gives a step an empty cache mount: what the builder keeps is looked at too.
    """
    plain = ("buildx", "build", "--network=host", "--provenance=false", "--progress=plain", "--tag", tag)
    return docker(*plain, *options, "-", text=dockerfile, check=check)


def layers(tag: str) -> Iterator[bytes]:
    """Every blob of the image as it is saved, unpacked."""
    saved = subprocess.run(["docker", "save", tag], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
        for member in archive:
            if file := archive.extractfile(member):
                data = file.read()
                yield gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def test_two_private_indexes_and_no_password_anywhere(engine: Engine, tmp_path: Path) -> None:
    """Promise 10: nothing leaks. One index wants basic and one bearer authentication, of the same canary."""
    corp = Index(CORP, password=CANARY)
    cpu = Index(CPU, token=CANARY, html=True, root="/whl/cpu", files="/whl/cpu", host="localhost")
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {CANARY}\n")
    netrc.chmod(0o600)
    with served(Index((*PUBLIC, Wheel("small", "1.0")))) as public, served(corp), served(cpu):
        store = credentials(tmp_path, cpu)
        pip = f"""packages = ["nets"]
index = "{public.url()}"
extra-indexes = [
    {{ name = "corp", url = "{corp.url()}", packages = ["acme-*"] }},
    {{ name = "torch-cpu", url = "{cpu.url()}", packages = ["torch"] }},
]"""
        where = {"NETRC": str(netrc), "UV_CREDENTIALS_DIR": str(store)}
        dockerfile, said = lock(engine, tmp_path / "project", pip, where)
        assert parse_lock((tmp_path / "project/envcompile.lock").read_text("utf-8"), "x").private_indexes == (
            "corp",
            "torch-cpu",
        )
        secrets = (
            *("--secret", f"id=netrc,src={netrc}"),
            *("--secret", f"id=uv-credentials,src={store / 'credentials.toml'}"),
        )
        without = build(dockerfile, "envcompile-test-private", check=False)
        # Both steps fail, and the first one that does cancels the other.
        wanted = (f"envcompile: this index requires credentials: --index-url {each.url()}" for each in (corp, cpu))
        assert any(each in without for each in wanted)
        said += without + build(dockerfile, "envcompile-test-private", *secrets)
        asked = [*public.asked, *corp.asked, *cpu.asked]
        corp.password = "another"
        said += build(dockerfile, "envcompile-test-refused", "--no-cache", *secrets, check=False)
        assert "401" in said
    assert engine.run("envcompile-test-private", "python", "-c", VERSIONS).strip() == str(
        ["acme-core==1.0", "nets==1.0", "small==1.0", "torch==2.9.1+cpu"]
    )
    assert asked
    said += docker("history", "--no-trunc", "envcompile-test-private")
    said += docker("image", "inspect", "envcompile-test-private")
    written = [path for path in (tmp_path / "project").rglob("*") if path.is_file()]
    assert not found(said + dockerfile)
    assert not any(found(path.read_bytes()) for path in written)
    blobs = list(layers("envcompile-test-private"))
    assert any(b"torch-2.9.1+cpu.dist-info/METADATA" in blob for blob in blobs)  # so it is unpacked indeed
    assert not any(map(found, blobs))
    assert kept_by_the_builder(engine, corp.port) == "nothing"


def kept_by_the_builder(engine: Engine, port: int) -> str:
    """Where in the cache of the installer, which stays with the builder, the canary is; `port` makes it look anew."""
    text = f"""FROM {engine.base} AS look
RUN --mount=type=cache,id=envcompile-uv,target=/cache \\
    : {port} && ls /cache/* && {{ grep -rl {CANARY} /cache || echo nothing; }} > /said
FROM scratch
COPY --from=look /said /
"""
    done = subprocess.run(
        ["docker", "buildx", "build", "--network=host", "--output", "type=tar,dest=-", "-"],
        input=text.encode(),
        check=True,
        capture_output=True,
    )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        file = archive.extractfile("said")
        assert file
        return file.read().decode().strip()


def test_an_authority_of_ones_own(engine: Engine, tmp_path: Path) -> None:
    """A company's certificates are a secret of the build like any other, and no word of them is in the image."""
    authority, server = certificates(tmp_path)
    with served(Index((Wheel("small", "1.0"),), tls=server)) as index:
        pip = f'packages = ["small"]\nindex = "{index.url()}"'
        dockerfile, _ = lock(engine, tmp_path / "project", pip, {"SSL_CERT_FILE": str(authority)})
        assert "certificate" in build(dockerfile, "envcompile-test-ca", check=False)
        said = build(dockerfile, "envcompile-test-ca", "--secret", f"id=ca,src={authority}")
    assert engine.run("envcompile-test-ca", "python", "-c", VERSIONS).strip() == str(["small==1.0"])
    body = authority.read_text("utf-8").splitlines()[1]
    assert body not in dockerfile + said + docker("history", "--no-trunc", "envcompile-test-ca")
    assert not any(body.encode() in blob for blob in layers("envcompile-test-ca"))


def test_a_proxy(engine: Engine, tmp_path: Path) -> None:
    """BuildKit's own build arguments, which are in no layer and no history."""
    with (
        served(Index((Wheel("small", "1.0"),))) as index,
        proxy({"index.invalid": index.url().removesuffix("/simple")}) as (url, asked),
    ):
        pip = 'packages = ["small"]\nindex = "http://index.invalid/simple"'
        dockerfile, _ = lock(engine, tmp_path / "project", pip, {"HTTP_PROXY": url, "http_proxy": url})
        locked = len(asked)
        build(dockerfile, "envcompile-test-proxy", "--no-cache", "--build-arg", f"HTTP_PROXY={url}")
    assert 0 < locked < len(asked)
    assert engine.run("envcompile-test-proxy", "python", "-c", VERSIONS).strip() == str(["small==1.0"])
    assert url not in dockerfile + docker("history", "--no-trunc", "envcompile-test-proxy")
    assert url not in docker("image", "inspect", "envcompile-test-proxy")
    assert not any(url.encode() in blob for blob in layers("envcompile-test-proxy"))


def test_a_bundle_replaces_the_index(engine: Engine, tmp_path: Path) -> None:
    """The index is gone, and each file of the bundle is compared with the lock like a download."""
    wheel, bundle = Wheel("small", "1.0"), tmp_path / "bundle" / "pip"
    bundle.mkdir(parents=True)
    with served(Index((wheel,))) as index:
        dockerfile, _ = lock(engine, tmp_path / "project", f'packages = ["small"]\nindex = "{index.url()}"', {})
    options = ("--no-cache", "--build-context", f"bundle={bundle.parent}")
    file = bundle / wheel.file
    file.write_bytes(wheel.content())
    build(dockerfile, "envcompile-test-bundle", *options)
    assert engine.run("envcompile-test-bundle", "python", "-c", VERSIONS).strip() == str(["small==1.0"])
    file.write_bytes(Wheel("small", "1.0", files=(("other.py", ""),)).content())
    said = build(dockerfile, "envcompile-test-bundle", *options, check=False)
    assert "Hash mismatch for `small==1.0`" in said, said


def test_an_index_that_only_one_platform_needs(engine: Engine, tmp_path: Path) -> None:
    """Its layer is empty on the other one, and is built all the same."""
    with served(Index((Wheel("small", "1.0"), Wheel("tiny", "1.0")))) as public, served(Index(CPU)) as cpu:
        pip = f"""packages = ["small", "tiny ; platform_machine == 'aarch64'", "torch ; platform_machine == 'aarch64'"]
index = "{public.url()}"
extra-indexes = [{{ name = "cpu", url = "{cpu.url()}", packages = ["torch"] }}]"""
        folder = tmp_path / "project"
        dockerfile, _ = lock(engine, folder, pip, {})
        text = (folder / "envcompile.toml").read_text("utf-8")
        several = text.replace("[pip]", 'platforms = ["linux-64", "linux-aarch64"]\n[pip]')
        (folder / "envcompile.toml").write_text(several, "utf-8")
        assert envcompile(folder, "lock", **os.environ).returncode == 0
        dockerfile = envcompile(folder, "dockerfile").stdout
        assert f"tiny_2\n--index-url {cpu.url()}\nindex_1\n" in dockerfile
        build(dockerfile, "envcompile-test-one-sided")
    assert engine.run("envcompile-test-one-sided", "python", "-c", VERSIONS).strip() == str(["small==1.0"])
