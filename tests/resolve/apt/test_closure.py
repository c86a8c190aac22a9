"""The closure of Debian packages over a small made-up archive, without a network.

Promise 8: change one package, nothing else moves unless it must. `test_closure_index.py` compares with the real apt.
"""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from envcompile.resolve.apt.closure import (
    PackageIndex,
    PackageRelation,
    UnmetDependenciesError,
    compute_closure,
    find_candidate,
    parse_fields,
    parse_package,
    version_sort_key,
)
from tests.kit.archive import paragraph, status


def index(*paragraphs: str) -> PackageIndex:
    return PackageIndex("\n".join(paragraphs))


def close(requested: str, *archive: str, base: str = "") -> dict[str, str]:
    """The versions of the packages to install, by name, in the order of the list."""
    found = compute_closure(requested.split(), [index(*archive)], PackageIndex(base))
    return {each.package.name: each.package.version for each in found}


def names(requested: str, *archive: str, base: str = "") -> str:
    return " ".join(close(requested, *archive, base=base))


def reasons(requested: str, *archive: str, base: str = "") -> list[str]:
    """Why the packages cannot be installed together."""
    with pytest.raises(UnmetDependenciesError) as caught:
        compute_closure(requested.split(), [index(*archive)], PackageIndex(base))
    assert str(caught.value) == "; ".join(caught.value.reasons)
    return list(caught.value.reasons)


# Dependencies


def test_depends_and_pre_depends_are_closed_and_sorted() -> None:
    archive = (
        paragraph("app", Depends="zlib, lib"),
        paragraph("lib", Pre_Depends="base-files"),
        *map(paragraph, ("zlib", "base-files", "unrelated")),
    )
    assert names("app", *archive) == "app base-files lib zlib"
    found = {each.package.name: each.depends for each in compute_closure(["app"], [index(*archive)], PackageIndex(""))}
    assert found == {"app": ("lib", "zlib"), "base-files": (), "lib": ("base-files",), "zlib": ()}


def test_recommends_suggests_and_enhances_are_not_installed() -> None:
    assert names("app", paragraph("app", Recommends="one", Suggests="two", Enhances="three"), paragraph("one")) == "app"


def test_packages_may_depend_on_each_other_and_on_themselves() -> None:
    archive = paragraph("one", Depends="two, one"), paragraph("two", Depends="one")
    found = compute_closure(["one"], [index(*archive)], PackageIndex(""))
    assert [(each.package.name, each.depends) for each in found] == [("one", ("two",)), ("two", ("one",))]


def test_an_archive_qualifier_and_an_architecture_list_belong_to_the_relation() -> None:
    """`Multi-Arch: allowed` packages are named `python3:any`."""
    archive = (
        paragraph("app", Depends="python3:any (>= 3.0), tool [amd64]"),
        paragraph("python3", "3.11"),
        paragraph("tool"),
    )
    assert names("app", *archive) == "app python3 tool"
    assert reasons("app", archive[0].replace("3.0", "3.12"), *archive[1:]) == [
        "`app 1.0` needs `python3 (>= 3.12)`, but the archive has `python3 3.11`"
    ]


def test_what_the_base_has_is_not_installed() -> None:
    archive = paragraph("app", Depends="lib (>= 1.0), tool"), paragraph("lib"), paragraph("tool")
    assert names("app", *archive, base=status("lib", "tool")) == "app"
    assert names("app tool", *archive, base=status("lib", "tool")) == "app"
    assert names("tool", *archive, base=status("tool", version="2.0")) == ""


def test_a_removed_package_is_not_installed() -> None:
    """dpkg keeps a paragraph for the configuration files."""
    archive = paragraph("app", Depends="lib"), paragraph("lib")
    removed = paragraph("lib", Status="deinstall ok config-files")
    unpacked = paragraph("lib", Status="install ok unpacked")
    assert names("app", *archive, base=removed) == "app lib"
    assert names("app", *archive, base=unpacked) == "app lib"
    assert names("app", *archive, base=status("lib")) == "app"
    assert names("app", *archive, base="Package: lib\nStatus: install ok installed\n") == "app lib"


# Alternatives


def test_the_first_alternative_is_installed_if_the_base_has_none() -> None:
    archive = paragraph("app", Depends="one | two"), paragraph("one"), paragraph("two")
    assert names("app", *archive) == "app one"
    assert names("app", *archive, base=status("two")) == "app"
    assert names("app two", *archive) == "app two"


def test_an_older_version_in_the_base_is_upgraded_before_something_new_is_installed() -> None:
    archive = paragraph("app", Depends="one | two (>= 2.0)"), paragraph("one"), paragraph("two", "2.0")
    assert close("app", *archive, base=status("two")) == {"app": "1.0", "two": "2.0"}


def test_an_alternative_that_the_archive_lacks_is_skipped() -> None:
    archive = paragraph("app", Depends="gone | old (>= 3.0) | two"), paragraph("old", "2.9"), paragraph("two")
    assert names("app", *archive) == "app two"


def test_a_sibling_with_an_alternative_is_upgraded_too() -> None:
    base = status("lib") + "\n" + status("lib-dev", Depends="lib (= 1.0) | gone")
    archive = paragraph("app", Depends="lib (>= 2.0)"), paragraph("lib", "2.0"), paragraph("lib-dev", "2.0")
    assert close("app", *archive, base=base) == {"app": "1.0", "lib": "2.0", "lib-dev": "2.0"}


def test_an_alternative_that_conflicts_with_a_chosen_package_is_skipped() -> None:
    for field in ("Conflicts", "Breaks"):
        archive = paragraph("app", Depends="one | two"), paragraph("one", **{field: "app"}), paragraph("two")
        assert names("app", *archive) == "app two"
        archive = paragraph("app", Depends="one | two", **{field: "one"}), paragraph("one"), paragraph("two")
        assert names("app", *archive) == "app two"


def test_a_conflict_with_another_version_does_not_matter() -> None:
    archive = paragraph("app", Depends="one | two", Breaks="one (<< 1.0)"), paragraph("one"), paragraph("two")
    assert names("app", *archive) == "app one"
    archive = paragraph("app", Depends="one | two"), paragraph("one", Breaks="app (>> 1.0)"), paragraph("two")
    assert names("app", *archive) == "app one"


def test_a_package_may_conflict_with_a_name_that_it_provides() -> None:
    """Debian policy: this is how exactly one provider of a name may be installed."""
    archive = (
        paragraph("app", Depends="mail | other"),
        paragraph("postfix", Provides="mail", Conflicts="mail"),
        paragraph("other"),
    )
    assert names("app", *archive) == "app postfix"
    assert reasons("postfix exim", *archive, paragraph("exim", Provides="mail")) == [
        "`postfix 1.0` conflicts with `exim 1.0`"
    ]


# Virtual packages


def test_a_real_package_comes_before_the_providers_of_its_name() -> None:
    archive = paragraph("app", Depends="mail"), paragraph("a-provider", Provides="mail"), paragraph("mail")
    assert names("app", *archive) == "app mail"


def test_providers_are_tried_by_priority_then_by_name() -> None:
    zero, one = paragraph("app", Depends="mail"), paragraph("exim", Provides="mail, smtp")
    two = paragraph("zeta", Provides="smtp, mail", Priority="standard")
    assert names("app", zero, one, two) == "app zeta"
    assert names("app", zero, one, two.replace("standard", "unknown")) == "app exim"
    order = ("required", "important", "standard", "optional")
    for higher, lower in pairwise(order):
        providers = paragraph("aa", Provides="mail", Priority=lower), paragraph("zz", Provides="mail", Priority=higher)
        assert names("app", zero, *providers) == "app zz"
    assert names("app", zero, one, paragraph("zeta", Provides="mail", Priority="optional")) == "app zeta"


def test_a_provider_in_the_base_is_enough() -> None:
    archive = paragraph("app", Depends="mail"), paragraph("exim", Provides="mail")
    assert names("app", *archive, base=status("nullmailer", Provides="mail")) == "app"


@pytest.mark.parametrize(
    ("relation", "provided", "satisfied"),
    [
        ("lib", "lib", True),
        ("lib", "lib (= 1.5)", True),
        ("lib (>= 1.0)", "lib", False),
        ("lib (>= 1.0)", "lib (= 1.5)", True),
        ("lib (>= 2.0)", "lib (= 1.5)", False),
        ("lib (= 1.5)", "other, lib (= 1.5)", True),
    ],
)
def test_a_relation_with_a_version_needs_a_provided_version(relation: str, provided: str, satisfied: bool) -> None:
    archive = paragraph("app", Depends=relation), paragraph("provider", Provides=provided)
    if satisfied:
        assert names("app", *archive) == "app provider"
    else:
        assert reasons("app", *archive) == [f"`app 1.0` needs `{relation}`, but the archive has no such package"]
    base = status("provider", Provides=provided)
    if satisfied:
        assert names("app", archive[0], base=base) == "app"
    else:
        assert reasons("app", archive[0], base=base)


def test_only_the_newest_version_of_a_provider_counts() -> None:
    archive = paragraph("app", Depends="mail"), paragraph("exim", "1.0", Provides="mail"), paragraph("exim", "2.0")
    assert reasons("app", *archive) == ["`app 1.0` needs `mail`, but the archive has no such package"]


def test_an_upgrade_that_no_longer_provides_a_name_is_noticed() -> None:
    """The base had `lib-abi-1` from `lib`; the new `lib` provides another name, so its user is upgraded too."""
    base = status("lib", Provides="lib-abi-1") + "\n" + status("user", Depends="lib-abi-1")
    archive = (
        paragraph("app", Depends="lib (>= 2.0)"),
        paragraph("lib", "2.0", Provides="lib-abi-2"),
        paragraph("user", "1.1", Depends="lib-abi-2"),
    )
    assert close("app", *archive, base=base) == {"app": "1.0", "lib": "2.0", "user": "1.1"}


# Versions


@pytest.mark.parametrize(
    ("operator", "allowed"),
    [
        ("<<", "1.0~rc1"),
        ("<=", "1.0~rc1 1.0"),
        ("<", "1.0~rc1 1.0"),
        ("=", "1.0"),
        (">=", "1.0 1.0-1"),
        (">", "1.0 1.0-1"),
        (">>", "1.0-1"),
    ],
)
def test_versions_are_compared_as_debian_policy_says(operator: str, allowed: str) -> None:
    """`<` and `>` are the obsolete spellings of `<=` and `>=`."""
    for version in ("1.0~rc1", "1.0", "1.0-1"):
        archive = paragraph("app", Depends=f"lib ({operator} 1.0)"), paragraph("lib", version)
        if version in allowed.split():
            assert names("app", *archive) == "app lib"
        else:
            assert reasons("app", *archive)


@pytest.mark.parametrize(
    "ascending",
    [
        "0~~ 0~~a 0~ 0 0a 0+ 0.1 1 1.9 1.10 1.10a 1.10.1 1.010.2 2 1:0 2:0~1",
        "1.0~rc1-1 1.0-1 1.0-1+b1 1.0-1.1 1.0-2 1.0a-1 1.0+dfsg-1 1.0-1-1",
        "1Z 1a 1z 1+ 1.",
    ],
)
def test_the_order_of_versions(ascending: str) -> None:
    """deb-version(7): letters before everything else, `~` even before the end, numbers by their value."""
    versions = ascending.split()
    assert sorted(set(versions), key=version_sort_key) == versions
    assert len({version_sort_key(each) for each in versions}) == len(versions)


@pytest.mark.parametrize(
    ("one", "other"), [("1.0", "1.0-0"), ("0:1", "1"), ("1.00", "1.0"), ("1.", "1.0"), ("01", "1")]
)
def test_two_spellings_of_one_version_are_equal(one: str, other: str) -> None:
    assert version_sort_key(one) == version_sort_key(other)


def test_a_colon_without_an_epoch_belongs_to_the_version() -> None:
    assert version_sort_key("1:2:3")[0] == (1, "1")
    assert version_sort_key("a:1")[0] == (0, "")
    assert version_sort_key("a:1") != version_sort_key("1")
    assert version_sort_key("3:1.0-2-1") == version_sort_key("3:1.0-2-01")
    assert version_sort_key("3:1.0-2-1")[0] == (1, "3")


def test_numbers_of_any_length_are_compared() -> None:
    """Python reads numbers of at most 4,300 digits. dpkg has no limit."""
    long = "1" + 5_000 * "0"
    assert version_sort_key("9") < version_sort_key(long) < version_sort_key(f"{long}1") < version_sort_key("1:0")
    assert version_sort_key(f"{long}:1") > version_sort_key("9:1")


def test_paragraphs_without_a_name_or_with_an_absurd_size_are_not_packages() -> None:
    found = index(
        "Pack-ge: b\nVersion: 1\n", "Package: #|  1), c |~d:any\nProvideS: x (= 1)\n", paragraph("a", Size=5_000 * "9")
    )
    assert parse_package("Pack-ge: b\nVersion: 1\n") is None
    assert [each.size for each in found.find_versions("a")] == [None]
    assert [name for name in found.list_names() if found.find_versions(name)] == ["a"]


def test_the_candidate_is_the_newest_version_of_all_suites_and_the_first_of_equal_ones() -> None:
    suites = [
        index(paragraph("lib", "1.9"), paragraph("lib", "1.10", Priority="standard")),
        index(paragraph("lib", "1.10")),
    ]
    found = find_candidate(suites, "lib")
    assert found
    assert (found.version, found.priority) == ("1.10", 2)
    assert find_candidate(suites, "other") is None
    newer = find_candidate([*suites, index(paragraph("lib", "1.11"))], "lib")
    assert newer
    assert newer.version == "1.11"


# Upgrades of what the base has


def test_a_package_of_the_base_is_upgraded_only_as_far_as_needed() -> None:
    archive = paragraph("app", Depends="lib (>= 1.5)"), paragraph("lib", "2.0"), paragraph("other", "2.0")
    base = status("lib", "other")
    assert close("app", *archive, base=base) == {"app": "1.0", "lib": "2.0"}
    assert names("app", *archive, base=status("lib", "other", version="1.5")) == "app"


def test_a_requested_package_is_upgraded_to_the_newest_version() -> None:
    assert close("lib", paragraph("lib", "2.0"), base=status("lib")) == {"lib": "2.0"}


def test_siblings_that_need_the_replaced_version_are_upgraded_too() -> None:
    """Packages of one source often depend on exactly their own version."""
    base = status("lib") + "\n" + status("lib-dev", Depends="lib (= 1.0)") + "\n" + status("lib-doc", Depends="lib")
    archive = (
        paragraph("app", Depends="lib (>= 2.0)"),
        paragraph("lib", "2.0"),
        paragraph("lib-dev", "2.0", Depends="lib (= 2.0), new"),
        paragraph("lib-doc", "2.0"),
        paragraph("new"),
    )
    assert close("app", *archive, base=base) == {"app": "1.0", "lib": "2.0", "lib-dev": "2.0", "new": "1.0"}


def test_a_sibling_that_cannot_be_upgraded_is_reported() -> None:
    base = status("lib") + "\n" + status("lib-dev", Depends="lib (= 1.0)")
    archive = paragraph("app", Depends="lib (>= 2.0)"), paragraph("lib", "2.0")
    assert reasons("app", *archive, base=base) == [
        "`lib-dev 1.0` needs `lib (= 1.0)`, but the base image has `lib 1.0`"
    ]


def test_a_package_of_the_base_that_the_new_one_breaks_is_upgraded() -> None:
    archive = paragraph("app", Breaks="old (<< 2.0)"), paragraph("old", "2.0"), paragraph("untouched", "2.0")
    assert close("app", *archive, base=status("old", "untouched")) == {"app": "1.0", "old": "2.0"}
    assert names("app", *archive, base=status("old", version="2.0")) == "app"


def test_the_clauses_of_a_replaced_package_do_not_count() -> None:
    """`old 1.0` needs `gone`; only `old 2.0` is installed in the end."""
    base = status("old", Depends="gone") + "\n" + status("gone")
    archive = paragraph("app", Depends="old (>= 2.0)"), paragraph("old", "2.0")
    assert close("app", *archive, base=base) == {"app": "1.0", "old": "2.0"}


def test_nothing_is_downgraded() -> None:
    archive = paragraph("app", Depends="lib (= 1.0)"), paragraph("lib")
    assert reasons("app", *archive, base=status("lib", version="1.1")) == [
        "`app 1.0` needs `lib (= 1.0)`, but the base image has `lib 1.1`"
    ]


# Conflicts


def test_packages_that_exclude_each_other() -> None:
    one = paragraph("one", Conflicts="two")
    assert reasons("one two", one, paragraph("two")) == ["`one 1.0` conflicts with `two 1.0`"]
    assert reasons("one two", one, paragraph("two", Conflicts="one")) == [
        "`one 1.0` conflicts with `two 1.0`",
        "`two 1.0` conflicts with `one 1.0`",
    ]
    assert reasons("two", paragraph("two"), base=status("one", Conflicts="two")) == [
        "`one 1.0` conflicts with `two 1.0`"
    ]
    assert reasons("one", one, base=status("two")) == ["`one 1.0` conflicts with `two 1.0`"]


def test_a_conflict_within_the_base_is_not_ours() -> None:
    base = status("one", Conflicts="two") + "\n" + status("two")
    assert names("app", paragraph("app"), base=base) == "app"


def test_if_every_alternative_conflicts_the_conflict_is_reported() -> None:
    archive = paragraph("app", Depends="one", Conflicts="one"), paragraph("one")
    assert reasons("app", *archive) == ["`app 1.0` conflicts with `one 1.0`"]


def test_a_reason_is_given_once() -> None:
    archive = paragraph("app", Depends="gone, gone"), paragraph("other", Depends="gone | lost (>= 1.0)")
    assert sorted(reasons("app other", *archive)) == [
        "`app 1.0` needs `gone`, but the archive has no such package",
        "`other 1.0` needs `gone | lost (>= 1.0)`, but the archive has no such package",
    ]


# Control files


def test_the_fields_of_a_paragraph() -> None:
    text = "Package: a\nDescription: first\n second\n \n third\nEmpty:\nX-Field9:  value \nY: z\n"
    assert parse_fields(text) == {
        "Package": "a",
        "Description": "first\n second\n \n third",
        "Empty": "",
        "X-Field9": "value",
        "Y": "z",
    }


def test_a_package_of_an_index() -> None:
    found = parse_package(
        paragraph(
            "git", "1:2.0-1", Pre_Depends="one", Depends="two (>= 1), three | four", Conflicts="five", Breaks="six"
        )
    )
    assert found
    assert (found.name, found.version, found.architecture) == ("git", "1:2.0-1", "amd64")
    assert found.depends == (
        (PackageRelation("one"),),
        (PackageRelation("two", ">=", "1"),),
        (PackageRelation("three"), PackageRelation("four")),
    )
    assert found.conflicts == (PackageRelation("five"), PackageRelation("six"))
    assert (found.path, found.size) == ("pool/main/git_1:2.0-1_amd64.deb", 1000)
    assert re.fullmatch("[0-9a-f]{64}", found.sha256)


def test_fields_that_are_missing_or_malformed() -> None:
    found = parse_package("Package: a\nVersion: 1\nSize: many\nPriority: extra\nDepends: , one,\n")
    assert found
    assert (found.architecture, found.path, found.size, found.sha256, found.priority) == ("", "", None, "", 4)
    assert found.depends == ((PackageRelation("one"),),)
    for text in (
        "",
        "Installed-Size: \n",
        "Installed-Size: -1\n",
        "Installed-Size: 1 kB\n",
        f"Installed-Size: {'9' * 5000}\n",
    ):
        unknown = parse_package(f"Package: a\nVersion: 1\n{text}")
        assert unknown
        assert unknown.installed_size is None
    known = parse_package("Package: a\nVersion: 1\nInstalled-Size: 44906\n")
    assert known
    assert known.installed_size == 44906 * 1024
    blank = parse_package("Package: a\nVersion: 1\nDepends: one,  , two\n")
    assert blank
    assert blank.depends == ((PackageRelation("one"),), (PackageRelation("two"),))
    assert (found.conflicts, found.provides) == ((), ())
    assert parse_package("Package: a\n") is None


@pytest.mark.parametrize(
    ("text", "relation"),
    [
        ("libc6(>=2.36)", PackageRelation("libc6", ">=", "2.36")),
        (" libc6 ( << 2.36-9+deb12u1 ) ", PackageRelation("libc6", "<<", "2.36-9+deb12u1")),
        ("g++", PackageRelation("g++")),
        ("python3.11:any", PackageRelation("python3.11")),
        ("gcc [!armel !mips]", PackageRelation("gcc")),
        ("LibX", PackageRelation("LibX")),
        ("not a relation", PackageRelation("not a relation")),
    ],
)
def test_a_relation(text: str, relation: PackageRelation) -> None:
    found = parse_package(f"Package: a\nVersion: 1\nDepends: {text}\n")
    assert found
    assert found.depends == ((relation,),)


def test_an_index_finds_versions_and_providers_by_name() -> None:
    found = PackageIndex(
        "Package: one\nVersion: 1\nProvides: mail (= 2), smtp\n\n"
        "Version: 1\nPackage: two\nProvides: mail\nDepends: one\n\n"
        "Package: one\nVersion: 2\nProvides: mail\n\n"
        "Version: 3\nDescription: no name\n\n\n"
        "Package: three  "
    )
    assert found.list_names() == {"one", "two", "three"}
    assert [each.version for each in found.find_versions("one")] == ["1", "2"]
    assert [each.version for each in found.find_versions("two")] == ["1"]
    assert found.find_versions("three") == found.find_versions("none") == ()
    assert found.find_providers("mail") == ("one", "two")
    assert found.find_providers("smtp") == ("one",)
    assert found.find_providers("one") == ()
