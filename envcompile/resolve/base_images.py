"""Base images by digest: find the image to resolve packages for, then choose the images for the locked packages.

`resolve_base_images` runs before the solvers: it returns the build context of each platform. `choose_base_images` runs
after them: it applies the rules of `envcompile.base_image` to the locked packages and pins the images of both stages.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from envcompile.base_image.decide import (
    decide_base_images,
    find_following_wheels,
    find_idle_gpu_packages,
    find_replacement_wheels,
    is_following_wheel,
    make_base_image_request,
    predict_packages,
    select_packages,
    spec_requests_gpu,
    uses_cuda,
)
from envcompile.base_image.default import (
    BASE_TABLE_EXAMPLE,
    BaseImageProperties,
    choose_base_image,
    find_base_image,
    find_tool_images,
    needs_inspection,
    uses_base_python,
)
from envcompile.base_image.explain import format_catalogue_version, locate_in_spec, record_decision
from envcompile.base_image.locked_cuda import iter_unused_libraries
from envcompile.base_image.model import BaseImageRequest
from envcompile.base_image.python_builds import find_standalone_python
from envcompile.diagnostics.diagnostic import Diagnostic, DiagnosticsError
from envcompile.diagnostics.errors import EXIT_FAILED, EXIT_UNAVAILABLE, UnavailableError
from envcompile.lock.graph import find_init_program
from envcompile.lock.model import BaseImage, PythonInterpreter, Step, ToolImage
from envcompile.net.process import run_in_threads
from envcompile.platforms import PLATFORMS
from envcompile.spec.decode import parse_spec_value
from envcompile.spec.solver_inputs import INIT_PACKAGE
from envcompile.spec.values import is_same_repository, remove_digest, split_image_reference
from envcompile.versions import minor_release

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envcompile.base_image.catalogue import Catalogue
    from envcompile.base_image.model import BaseImageResult, PackageSummary, StageImage
    from envcompile.diagnostics.source import KeyPath
    from envcompile.diagnostics.toml_source import TomlSource
    from envcompile.lock.model import BaseImageDecision, Lock, PlatformLock
    from envcompile.resolve.upgrade import UpgradeRequest
    from envcompile.spec.model import Spec


class ImageReport(Protocol):
    """What a registry client reads from an image; see `BaseImageProperties`."""

    @property
    def os(self) -> str | None: ...  # noqa: D102
    @property
    def glibc(self) -> str | None: ...  # noqa: D102
    @property
    def python(self) -> str | None: ...  # noqa: D102
    @property
    def python_path(self) -> str | None: ...  # noqa: D102


class ImageReader(Protocol):
    """A registry client. Its methods raise `UnavailableError` if the registry cannot be read."""

    def resolve_digest(self, reference: str) -> str:
        """Return the digest that `name[:tag]` refers to now."""

    def read_image(self, reference: str, platform: str) -> ImageReport:
        """Return the properties of `name[:tag]@digest` for a platform in Docker's notation, such as linux/amd64."""

    def find_platforms(self, reference: str) -> frozenset[str]:
        """Return the platforms of `name[:tag]@digest` in Docker's notation; none if the registry does not answer."""


class BuildContext(NamedTuple):
    """The target of the resolvers on one platform: the base image, its interpreter and the build tools.

    `wheels` are the pip requirements that the choice of base images adds to those of the spec.
    """

    base: BaseImage
    python: PythonInterpreter | None
    tools: tuple[ToolImage, ...]
    wheels: tuple[str, ...] = ()


class BaseImageInputs(NamedTuple):
    """The inputs of `choose_base_images` besides the spec and the packages."""

    catalogue: Catalogue
    images: ImageReader
    pinned_images: Mapping[str, str]  # `name:tag` to `name:tag@digest`
    systems: Mapping[str, str]  # by platform: the system that an earlier pass chose, which must not change
    earlier_steps: Mapping[str, tuple[Step, ...]]  # by platform: the explanation steps of earlier passes
    requested_wheels: Mapping[str, tuple[str, ...]]  # by platform: `BuildContext.wheels`
    # By platform: the standalone Python of the earlier lock, unless it is to be upgraded.
    standalone_pythons: Mapping[str, PythonInterpreter] = MappingProxyType({})


# Before the solvers run: the build context.


def check_image_platforms(source: TomlSource, spec: Spec, earlier: Lock | None, images: ImageReader) -> None:
    """Reject an image that the spec gives by the digest of a manifest for another platform than a requested one.

    An image that the earlier lock has for all platforms is not looked up again, and a registry that does not answer is
    passed over: the build compares the machine of each base image with the lock.

    Raises `DiagnosticsError` with a diagnostic for each such image.
    """
    given: list[tuple[KeyPath, str]] = []
    if base := spec.image.base:
        is_text = isinstance(parse_spec_value(source).get("image", {}).get("base"), str)
        given.append((("image", "base") if is_text else ("image", "base", "image"), base.image))
    needed = dict(find_tool_images(spec, has_standalone_python=True))
    given += [(("tools", name), image) for name, image in spec.tools if name in needed]
    given = [(path, image) for path, image in given if "@" in image and not _is_locked_everywhere(image, spec, earlier)]
    if not given:
        return
    wanted = {name: PLATFORMS[name].docker_platform for name in spec.platforms}
    diagnostics = []
    for (path, image), found in zip(
        given, run_in_threads(images.find_platforms, [image for _, image in given]), strict=True
    ):
        missing = [
            name
            for name, docker in wanted.items()
            if not any(f"{platform}/".startswith(f"{docker}/") for platform in found)
        ]
        if found and missing:
            diagnostics.append(_create_platform_diagnostic(path, image, sorted(found), missing))
    if diagnostics:
        raise DiagnosticsError(source, diagnostics)


def _is_locked_everywhere(image: str, spec: Spec, earlier: Lock | None) -> bool:
    locked = {each.platform: each for each in earlier.platforms} if earlier else {}
    return all(
        name in locked and image in {locked[name].build.image, *(tool.image for tool in locked[name].tools)}
        for name in spec.platforms
    )


def _create_platform_diagnostic(path: KeyPath, image: str, found: list[str], missing: list[str]) -> Diagnostic:
    only = " and ".join(f"`{platform}`" for platform in found)
    others = " and ".join(f"`{name}`" for name in missing)
    message = f"the digest of `{remove_digest(image)}` is that of an image for {only}, and the spec requests {others}"
    hint = (
        f"write the digest for all platforms, which `docker buildx imagetools inspect {remove_digest(image)}` shows, "
        "or change `platforms`"
    )
    return Diagnostic("image-platform", message, path, hint)


def resolve_base_images(  # noqa: PLR0913
    source: TomlSource,
    spec: Spec,
    earlier: Lock | None,
    images: ImageReader,
    *,
    upgrade: UpgradeRequest,
    recovered_images: tuple[str, ...] = (),
) -> dict[str, BuildContext]:
    """Return the build context of each platform: the base image of the spec, or else the default one.

    The digests and the Python of the earlier lock are kept, unless `upgrade` includes them. `recovered_images` are the
    images with digests that could be read from a damaged earlier lock.

    Raises `DiagnosticsError` if a base image cannot be used, and `UnavailableError` if a digest or the properties of an
    image cannot be read.
    """
    base = find_base_image(spec)
    image = pin_image(base.image, collect_pinned_images(earlier, recovered_images, upgrade), images)
    choices: dict[str, tuple[BaseImage, PythonInterpreter | None]] = {}
    diagnostics: list[Diagnostic] = []
    for platform in spec.platforms:
        locked = earlier.find_platform(platform) if earlier and upgrade.names is not True else None
        properties = _inspect_image(source, spec, image, locked, images, platform)
        python = locked.python if locked and not upgrade.includes("python") else None
        choice = choose_base_image(spec, base, image, properties, platform, python)
        if isinstance(choice, Diagnostic):
            diagnostics.append(choice)
        else:
            choices[platform] = choice
    if diagnostics:
        raise DiagnosticsError(source, dict.fromkeys(diagnostics))
    has_standalone_python = any(python and python.build for _, python in choices.values())
    pinned_tools = collect_pinned_tools(earlier, recovered_images, upgrade)
    tools = pin_tools(spec, pinned_tools, images, has_standalone_python=has_standalone_python)
    return {platform: BuildContext(*choice, tools) for platform, choice in choices.items()}


class PinnedTools(NamedTuple):
    """The tool images of the earlier lock that are kept: by the name of the tool, and by `name:tag`."""

    by_tool: Mapping[str, str]
    by_tag: Mapping[str, str]


def pin_tools(
    spec: Spec, pinned: PinnedTools, images: ImageReader, *, has_standalone_python: bool = False
) -> tuple[ToolImage, ...]:
    """Return the images of the build tools by digest. Raises `UnavailableError` if a digest cannot be read.

    A tool that the spec does not name keeps its locked image, because each release has another default image.
    """
    requested = dict(spec.tools)
    tools = []
    for name, image in find_tool_images(spec, has_standalone_python=has_standalone_python):
        locked = pinned.by_tool.get(name)
        is_kept = locked is not None and name not in requested and is_same_repository(locked, image)
        tools.append(ToolImage(name, locked if locked and is_kept else pin_image(image, pinned.by_tag, images)))
    return tuple(tools)


def collect_pinned_images(
    earlier: Lock | None, recovered_images: tuple[str, ...], upgrade: UpgradeRequest
) -> dict[str, str]:
    """Return the base images to keep as a map from `name:tag` to `name:tag@digest`.

    They are from the earlier lock, or recovered from a damaged one.
    An image that is upgraded on one platform is upgraded on all, so that they have the same digest.
    """
    platforms = earlier.platforms if earlier else ()
    found = {} if upgrade.includes("base") else {remove_digest(image): image for image in recovered_images}
    found |= {remove_digest(image): image for platform in platforms for image in _list_base_images(platform)}
    for platform in filter(upgrade.includes_base, platforms):
        for image in _list_base_images(platform):
            found.pop(remove_digest(image), None)
    return found


def _list_base_images(platform: PlatformLock) -> tuple[str, str]:
    return platform.run.image, platform.build.image


def collect_pinned_tools(
    earlier: Lock | None, recovered_images: tuple[str, ...], upgrade: UpgradeRequest
) -> PinnedTools:
    """Return the tool images to keep: those of the earlier lock and the recovered ones, or none with `-P tools`."""
    if upgrade.includes("tools"):
        return PinnedTools({}, {})
    by_tool = {tool.name: tool.image for platform in (earlier.platforms if earlier else ()) for tool in platform.tools}
    return PinnedTools(by_tool, {remove_digest(image): image for image in (*recovered_images, *by_tool.values())})


def pin_image(image: str, pinned_images: Mapping[str, str], images: ImageReader) -> str:
    """Return the image with a digest: its own, or else a pinned one, or else that in the registry.

    Raises `UnavailableError` if the registry cannot be read.
    """
    if "@" in image:
        return image
    return pinned_images.get(image) or f"{image}@{images.resolve_digest(image)}"


def _inspect_image(  # noqa: PLR0913, PLR0917
    source: TomlSource, spec: Spec, image: str, locked: PlatformLock | None, images: ImageReader, platform: str
) -> BaseImageProperties:
    """Return the properties of the image. Reads the registry only if the lock, the spec and the name do not suffice."""
    base = find_base_image(spec)
    reference = split_image_reference(base.image)
    has_digest = bool(reference and reference.digest)
    if locked and locked.build.image == image and (properties := _reuse_locked_image(spec, locked)):
        return properties
    if has_digest and not needs_inspection(spec):
        return BaseImageProperties()
    try:
        report = images.read_image(image, PLATFORMS[platform].docker_platform)
    except UnavailableError as error:
        if not has_digest:
            raise
        # The digest is known, so the spec can state the properties instead.
        message = f"cannot read the properties of `{base.image}`: {error.message}"
        hint = f"state them in the spec: {BASE_TABLE_EXAMPLE}"
        diagnostic = Diagnostic("base-unknown", message, ("image", "base"), hint)
        raise DiagnosticsError(source, [diagnostic], EXIT_UNAVAILABLE) from None
    return BaseImageProperties(report.os, report.glibc, report.python, report.python_path)


def _reuse_locked_image(spec: Spec, locked: PlatformLock) -> BaseImageProperties | None:
    """Return the properties of the same image in the lock, or None if the spec needs more properties."""
    python, base = locked.python, find_base_image(spec)
    if not uses_base_python(spec) or (python and python.source == "standalone"):
        return BaseImageProperties(locked.build.os, locked.build.glibc)
    if python and python.source == "image":
        return BaseImageProperties(locked.build.os, locked.build.glibc, python.version, python.path)
    if python and python.source == "spec" and python.version in (spec.python, base.python):
        return BaseImageProperties(locked.build.os, locked.build.glibc, None, python.path)
    return None


# After the solvers have run: the choice.


def choose_base_images(
    source: TomlSource, spec: Spec, platforms: Iterable[PlatformLock], inputs: BaseImageInputs
) -> tuple[PlatformLock, ...]:
    """Return the platforms with unchanged packages, and with the base images that the packages need.

    Raises `DiagnosticsError` if no base image fits the packages, and `UnavailableError` if a digest cannot be read.
    """
    diagnostics: list[Diagnostic] = []
    chosen = []
    for platform in platforms:
        decision, wheels = _decide_with_wheels(spec, platform, inputs)
        diagnostics += [locate_in_spec(error, spec) for error in decision.errors]
        if decision.build and decision.run:
            locked_python = inputs.standalone_pythons.get(platform.platform)
            with_python = _add_standalone_python(spec, platform, decision, locked_python)
            if isinstance(with_python, Diagnostic):
                diagnostics.append(with_python)
            else:
                chosen.append(_apply_decision(spec, with_python, decision, wheels, inputs))
    if diagnostics:
        raise DiagnosticsError(source, dict.fromkeys(diagnostics), EXIT_FAILED)
    return tuple(chosen)


def _decide_with_wheels(
    spec: Spec, platform: PlatformLock, inputs: BaseImageInputs
) -> tuple[BaseImageResult, tuple[str, ...]]:
    """Return the decision, and the pip requirements that it needs.

    The decision assumes that pip has already resolved these requirements.
    """
    catalogue = inputs.catalogue
    request = make_base_image_request(spec, platform, catalogue, inputs.systems.get(platform.platform))
    packages = select_packages(spec, platform, catalogue)
    decision = _decide_with_python(request, packages, catalogue)
    decision = _check_requested_cuda(request, packages, platform, decision, catalogue)
    if decision.errors:
        return decision, ()
    wheels = find_replacement_wheels(decision, catalogue)
    if isinstance(wheels, Diagnostic):
        return _reject_decision(decision, wheels), ()
    requested = inputs.requested_wheels.get(platform.platform, ())
    following = {
        *find_following_wheels(packages, decision.cuda, catalogue),
        *(wheel for wheel in requested if is_following_wheel(wheel, catalogue)),
    }
    if not wheels:
        return decision, tuple(sorted({*requested, *following}))
    if not spec.pip.packages:
        return _reject_decision(decision, _create_unpinned_error(wheels)), ()
    predicted = predict_packages(wheels, catalogue)
    predicted_names = {package.name for package in predicted}
    other_packages = tuple(package for package in packages if package.name not in predicted_names)
    decision = _decide_with_python(request, (*other_packages, *predicted), catalogue)
    return decision, tuple(sorted({*wheels, *following}))


def _check_requested_cuda(
    request: BaseImageRequest,
    packages: tuple[PackageSummary, ...],
    platform: PlatformLock,
    decision: BaseImageResult,
    catalogue: Catalogue,
) -> BaseImageResult:
    """Return the decision, or reject it if the packages do not use the CUDA version that the spec requests, if any."""
    cuda = request.cuda.version
    if cuda and not decision.errors and not uses_cuda(request, packages, catalogue, surely=False):
        message = f"`cuda.version` requests CUDA {cuda}, but no package locked for `{platform.platform}` uses CUDA"
        hint = "request a CUDA build, for example `pytorch * cuda*` from conda, or remove `version` from `[cuda]`"
        return _reject_decision(decision, Diagnostic("cuda-conflict", message, hint=hint))
    if warning := next((warning for warning in decision.warnings if warning.rule == "cuda-minor-differs"), None):
        return _reject_decision(decision, replace(warning, severity="error"))
    return decision


def _decide_with_python(
    request: BaseImageRequest, packages: tuple[PackageSummary, ...], catalogue: Catalogue
) -> BaseImageResult:
    """Return the decision. A system that has the requested Python is preferred to a standalone Python."""
    decision = _retry_with_older_glibc(request, packages, catalogue)
    run = decision.run
    if (
        run is None
        or run.python_source != "standalone"
        or request.has_standalone_python
        or _has_python(run.system, request.python, catalogue)
    ):
        return decision
    systems = (system for system in catalogue.policy.systems if _has_python(system, request.python, catalogue))
    alternatives = (_retry_with_older_glibc(replace(request, system=system), packages, catalogue) for system in systems)
    return next((alternative for alternative in alternatives if not alternative.errors), decision)


def _retry_with_older_glibc(
    request: BaseImageRequest, packages: tuple[PackageSummary, ...], catalogue: Catalogue
) -> BaseImageResult:
    """Return the decision. Ignore the tags of wheels if only these need a newer glibc than any possible image has.

    The next pass then resolves for the older glibc and selects other wheels.
    """
    decision = decide_base_images(request, packages, catalogue)
    if request.image or [error.rule for error in decision.errors] != ["base-glibc"]:
        return decision
    packages_without_tags = tuple(package._replace(file="") for package in packages)
    older_decision = decide_base_images(request, packages_without_tags, catalogue)
    return decision if older_decision.errors else older_decision


def _reject_decision(decision: BaseImageResult, error: Diagnostic) -> BaseImageResult:
    return replace(decision, build=None, run=None, errors=(*decision.errors, error))


def _has_python(system: str, python: str | None, catalogue: Catalogue) -> bool:
    return catalogue.systems[system].python_version == python


def _create_unpinned_error(wheels: tuple[str, ...]) -> Diagnostic:
    names = " and ".join(f"`{wheel}`" for wheel in wheels)
    message = f"a locked package needs the files of {names} from pip, but the spec has no pip packages"
    hint = "add the conda package with the same files, for example `cuda-cudart-dev`, to `packages` in `[conda]`"
    return Diagnostic("cuda-unpinned", message, hint=hint)


def _apply_decision(
    spec: Spec, platform: PlatformLock, decision: BaseImageResult, wheels: tuple[str, ...], inputs: BaseImageInputs
) -> PlatformLock:
    """Return the platform with the images by digest and the decision as the lock records it."""
    catalogue = inputs.catalogue
    if decision.build is None or decision.run is None:
        raise AssertionError("a decision without errors has both stages")
    build, run = (_pin_stage_image(stage, platform.run, inputs) for stage in (decision.build, decision.run))
    python = minor_release(platform.python.version) + platform.python.abi[-1:] if platform.python else ""
    steps = inputs.earlier_steps.get(platform.platform, ())
    if idle_packages := find_idle_gpu_packages(spec, platform, catalogue):
        # Locks hold this text: do not change it.
        text = "no GPU is asked for, and no CUDA that it finds is locked: it runs on the processor"
        steps = (*steps, Step(2, "without-gpu", tuple(map(str, idle_packages)), text, source="docs/base.md, step 2"))
    is_gpu_unused = not spec_requests_gpu(spec) and not uses_cuda(
        BaseImageRequest(), select_packages(spec, platform, catalogue), catalogue, surely=True
    )
    warnings = (*decision.warnings, *(iter_unused_libraries(platform) if is_gpu_unused else ()))
    record = record_decision(replace(decision, warnings=warnings), format_catalogue_version(catalogue), python, steps)
    record = _add_compiler(spec, decision.run, replace(record, wheels=wheels))
    record = _add_init(spec, platform, record)
    if uses_base_python(spec) and decision.run.python_source == "distribution":
        record = _use_distribution_python(f"python{python}", platform, record)
    return replace(platform, build=build, run=run, base_decision=record)


def _add_standalone_python(
    spec: Spec, platform: PlatformLock, decision: BaseImageResult, locked: PythonInterpreter | None
) -> PlatformLock | Diagnostic:
    """Return the platform with a standalone Python, if the decision needs one.

    It is that of an earlier pass, or else that of the earlier lock (`locked`), or else the newest.
    """
    if not uses_base_python(spec) or decision.run is None or decision.run.python_source != "standalone":
        return platform
    release = spec.python or ""
    python = platform.python if platform.python and platform.python.build else locked
    found = find_standalone_python(release, platform.platform, free_threaded=spec.free_threaded, locked=python)
    return found if isinstance(found, Diagnostic) else replace(platform, python=found)


def _pin_stage_image(stage: StageImage, base: BaseImage, inputs: BaseImageInputs) -> BaseImage:
    """Return the image of a stage by digest. `base` is the image of the build context, whose digest is known."""
    if stage.image in (base.image, remove_digest(base.image)):
        return base
    return BaseImage(pin_image(stage.image, inputs.pinned_images, inputs.images), stage.os, stage.glibc)


def _add_compiler(spec: Spec, run: StageImage, record: BaseImageDecision) -> BaseImageDecision:
    """Add the compiler that `jit` in the spec requests, unless the image or the decision has one already."""
    if not spec.cuda.jit or run.flavour.endswith("devel") or {"gcc", "g++"} & {*record.apt}:
        return record
    # Locks hold this text: do not change it.
    step = Step(2, "jit", ("jit",), "compiles at run time: gcc, libc6-dev", source="the spec")
    explanation = tuple(sorted((*record.explanation, step), key=lambda step: step.step))
    return replace(record, apt=tuple(sorted({*record.apt, "gcc", "libc6-dev"})), explanation=explanation)


def _add_init(spec: Spec, platform: PlatformLock, record: BaseImageDecision) -> BaseImageDecision:
    """Add the Debian package of the init program, if the spec requests an init and no locked package has the program.

    This is the case without a Python, which its wheel needs.
    """
    if not spec.image.init or find_init_program(spec, platform):
        return record
    # Locks hold this text: do not change it.
    step = Step(2, "init", ("init",), f"no Python for the wheel of the init program: {INIT_PACKAGE}", source="the spec")
    explanation = tuple(sorted((*record.explanation, step), key=lambda step: step.step))
    return replace(record, apt=tuple(sorted({*record.apt, INIT_PACKAGE})), explanation=explanation)


def _use_distribution_python(python: str, platform: PlatformLock, record: BaseImageDecision) -> BaseImageDecision:
    """Add the Debian package `python` to both stages, and its headers to a build stage that compiles C code."""
    headers = {f"{python}-dev"} if any(package.kind == "sdist" for package in platform.pip) else set()
    return replace(
        record,
        apt=tuple(sorted({*record.apt, python})),
        apt_build=tuple(sorted({*record.apt_build, python, *headers})),
    )
