"""Looks for the programs that a container starts: a warning if nothing that is locked can bring one.

The lock does not list the files of packages, so the check compares names. It reports a program only if the run image is
one whose programs are known and no locked package has a similar name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.diagnostic import Diagnostic, did_you_mean
from envcompile.lock.package_managers import INSTALLED_KINDS, PACKAGE_LISTS
from envcompile.spec.solver_inputs import INIT_PACKAGE
from envcompile.spec.values import display_text, split_image_reference
from envcompile.versions import minor_release

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.diagnostics.source import KeyPath
    from envcompile.lock.model import Lock, PlatformLock
    from envcompile.spec.model import ImageSpec, Spec

# Programs that start the words after them, and after `--` if it is there.
_INIT_PROGRAMS = frozenset({INIT_PACKAGE, "tini", "tini-static", "catatonit"})
# Programs in Debian's minimal system, which the slim images contain too, and nearly all of which Ubuntu has: the files
# in bin and sbin of an image of Debian 12 by mmdebstrap (November 2026), without tools for perl and file systems.
_BASE_PROGRAMS = frozenset(
    """
add-shell addgroup addpart adduser agetty apt apt-cache apt-cdrom apt-config apt-get apt-key apt-mark arch awk
b2sum base32 base64 basename basenc bash blkdiscard blkid blkzone blockdev cat chage chcon chcpu chfn chgpasswd
chgrp chmem chmod choom chown chpasswd chroot chrt chsh cksum clear clear_console cmp comm cp cpgr csplit
ctrlaltdel cut dash date dd debconf debconf-apt-progress debconf-communicate debconf-copydb debconf-escape
debconf-set-selections debconf-show delgroup delpart deluser df diff diff3 dir dircolors dirname dmesg
dnsdomainname domainname dpkg dpkg-deb dpkg-divert dpkg-maintscript-helper dpkg-query dpkg-realpath dpkg-split
dpkg-statoverride dpkg-trigger du echo egrep env expand expiry expr factor faillog fallocate false fgrep fincore
find findfs findmnt flock fmt fold fsfreeze fstab-decode fstrim getconf getent getopt getty gpasswd gpgv grep
groupadd groupdel groupmems groupmod groups grpck grpconv grpunconv gunzip gzexe gzip hardlink head hostid
hostname hwclock i386 iconv id infocmp install installkernel invoke-rc.d ionice ipcmk ipcrm ipcs isosize join
killall5 last lastb lastlog ldattach ldconfig ldd link linux32 linux64 ln locale localedef logger login logname
losetup ls lsblk lscpu lsfd lsipc lsirq lslocks lslogins lsmem lsns mawk mcookie md5sum mesg mkdir mkfifo mknod
mkswap mktemp more mount mountpoint mv namei nawk newgrp newusers nice nisdomainname nl nohup nologin nproc
nsenter numfmt od pager partx passwd paste pathchk perl pidof pinky pivot_root pr printenv printf prlimit pwck
pwconv pwd pwhistory_helper pwunconv rbash readlink readprofile realpath remove-shell renice reset resizepart
rev rgrep rm rmdir rmt rmt-tar rtcwake run-parts runcon runuser savelog script scriptlive scriptreplay sdiff sed
seq service setarch setpriv setsid setterm sg sh sha1sum sha224sum sha256sum sha384sum sha512sum shadowconfig
shred shuf sleep sort split start-stop-daemon stat stdbuf stty su sulogin sum swaplabel swapoff swapon
switch_root sync tabs tac tail tar tarcat taskset tee tempfile test tic timeout toe touch tput tr true truncate
tset tsort tty uclampset umount uname uncompress unexpand uniq unlink unshare update-alternatives update-passwd
update-rc.d update-shells useradd userdel usermod users utmpdump vdir vigr vipw wall wc wdctl whereis which who
whoami wipefs x86_64 xargs yes ypdomainname zcat zcmp zdiff zegrep zfgrep zforce zgrep zless zmore znew zramctl
    """.split()
)
# Where a package and its program have different names, from the packages' lists of files (November 2026).
_PACKAGES_OF_PROGRAMS = {
    "Rscript": ("r-base",),
    "convert": ("imagemagick",),
    "ffplay": ("ffmpeg",),
    "ffprobe": ("ffmpeg",),
    "free": ("procps",),
    "hf": ("huggingface-hub",),
    "java": ("openjdk", "default-jre", "default-jdk"),
    "mpiexec": ("openmpi", "mpich", "impi", "mvapich"),
    "mpirun": ("openmpi", "mpich", "impi", "mvapich"),
    "nc": ("netcat",),
    "npm": ("nodejs",),
    "npx": ("nodejs", "npm"),
    "pgrep": ("procps",),
    "pkill": ("procps",),
    "ps": ("procps",),
    "psql": ("postgresql",),
    "ss": ("iproute2",),
    "top": ("procps",),
    "twistd": ("twisted",),
    "yolo": ("ultralytics",),
}
# A folder of programs below which the check knows what is there. Whoever derives an image puts programs elsewhere.
_SYSTEM_FOLDERS = frozenset({"", "/bin", "/sbin", "/usr/bin", "/usr/sbin"})
_ENVIRONMENT_FOLDER = "/env/bin"
_HINTS = {
    **dict.fromkeys(_INIT_PROGRAMS, "write `init = true` in `[image]` instead: it locks an init and starts it"),
    "jupyter": "add `jupyterlab` to `packages` in `[pip]` or `[conda]`",
    **{name: f"add `{name}` to `packages` in `[apt]`" for name in ("curl", "wget", "git")},
}
_HINT = "add the package that contains it to `packages` in `[pip]`, `[conda]` or `[apt]`"
# Shorter parts of a name are found in unrelated names.
_MIN_PART_LENGTH = 3
_MIN_FIRST_WORD_LENGTH = 4


class _StartedProgram(NamedTuple):
    """A word of the spec that names a program, and its key path."""

    path: KeyPath
    word: str


def check_programs(spec: Spec, lock: Lock) -> list[Diagnostic]:
    """Return a warning for each program of `entrypoint`, `command` and `healthcheck` that seems not to be installed."""
    found = []
    for path, word in _iter_programs(spec.image):
        missing = [each.platform for each in lock.platforms if not _may_contain(spec, each, word)]
        if missing:
            names = " and ".join(f"`{platform}`" for platform in missing)
            where = "" if len(missing) == len(lock.platforms) else f" for {names}"
            message = f"no locked package appears to contain the program `{display_text(word)}`{where}"
            found.append(Diagnostic("missing-program", message, path, _find_hint(word, lock), severity="warning"))
    return found


def _iter_programs(image: ImageSpec) -> Iterator[_StartedProgram]:
    entrypoint = image.entrypoint
    if entrypoint:
        yield _StartedProgram(("image", "entrypoint", 0), entrypoint[0])
    is_init = bool(entrypoint) and entrypoint[0].rpartition("/")[2] in _INIT_PROGRAMS
    rest = entrypoint.index("--") + 1 if is_init and "--" in entrypoint else len(entrypoint)
    if rest < len(entrypoint):
        yield _StartedProgram(("image", "entrypoint", rest), entrypoint[rest])
    # The command of any other entrypoint may be its arguments.
    if image.command and (not entrypoint or (is_init and rest == len(entrypoint))):
        yield _StartedProgram(("image", "command", 0), image.command[0])
    if image.healthcheck:
        yield _StartedProgram(("image", "healthcheck", "command", 0), image.healthcheck.command[0])


def _may_contain(spec: Spec, platform: PlatformLock, word: str) -> bool:
    folder, _, name = word.rpartition("/")
    if folder not in {*_SYSTEM_FOLDERS, _ENVIRONMENT_FOLDER} or not _has_known_programs(platform.run.image):
        return True
    in_environment = folder == _ENVIRONMENT_FOLDER
    if not in_environment and name in _BASE_PROGRAMS:
        return True
    # NVIDIA's container toolkit mounts its programs when a container starts.
    if name.startswith("nvidia-") or (name == "activated" and platform.conda):
        return True
    if platform.python and name in _list_python_programs(platform.python.version):
        return True
    packages = [*(each.name for each in platform.conda), *(each.name for each in platform.pip)]
    if not in_environment:
        # The closure of the Debian packages in the lock lacks those that the base image has already.
        packages += [each.name for each in platform.apt]
        packages += [*spec.apt.packages, *(platform.base_decision.apt if platform.base_decision else ())]
    return any(_may_install(package, name) for package in packages)


def _has_known_programs(image: str) -> bool:
    """Whether an image is one of those that have Debian's minimal system, or Ubuntu's, and little more."""
    parts = split_image_reference(image)
    name, tag = (parts.name, parts.tag or "") if parts else ("", "")
    if name == "python":
        return "slim" in tag
    return name in ("debian", "ubuntu") or (name == "nvidia/cuda" and "devel" not in tag)


def _list_python_programs(version: str) -> tuple[str, ...]:
    minor = minor_release(version)
    return ("python", "python3", f"python{minor}", f"python{minor}t", "pip", "pip3", f"pip{minor}", "pydoc3", "idle3")


def _may_install(package: str, program: str) -> bool:
    """Whether the name of a package is similar to that of a program: one contains the other, or its first word."""
    if any(part in package for part in _PACKAGES_OF_PROGRAMS.get(program, ())):
        return True
    if package == program:
        return True
    # Libraries contain no programs: git brings libcurl, but not curl.
    if package.startswith("lib"):
        return False
    name, wanted = _join_words(package), _join_words(program)
    first = _join_words(re.split(r"[-_.]", program, maxsplit=1)[0])
    return (
        wanted in name
        or (len(name) >= _MIN_PART_LENGTH and name in wanted)
        or (len(first) >= _MIN_FIRST_WORD_LENGTH and first in name)
    )


def _join_words(name: str) -> str:
    return re.sub(r"[-_.]", "", name.lower())


def _find_hint(word: str, lock: Lock) -> str:
    name = word.rpartition("/")[2]
    if name in _HINTS:
        return _HINTS[name]
    packages = {
        package
        for kind in INSTALLED_KINDS
        for platform in lock.platforms
        for package, _ in PACKAGE_LISTS[kind].iter_packages(platform)
    }
    return did_you_mean(name, {*packages, *_HINTS, "python"}) or _HINT
