"""Cases of installing wheels from pip's documentation and PEPs 376, 427, 610, 660.

pip's source archives carry no tests of pip, so these stand for its functional tests that concern wheels. A
case is some wheels and some commands; `support.pip_play` runs them with the wrapper and without.
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.pips import BROKEN
from support.synthetic import dist_info, record_row, wheel_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SOME = b"x = 1\n"
LOCAL = ("--no-index", "--find-links", "{wheels}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Wheels made by *build*; each command's arguments to pip with the exit code that it must give.

    ``{wheels}`` stands for the wheels' folder, ``{place}`` for another folder. After the commands
    *there* must exist in the environment, and *absent* must not.
    """

    name: str
    build: Callable[[str], object]
    commands: tuple[tuple[int, tuple[str, ...]], ...]
    there: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def wheel(
    folder: str,
    spec: str,
    files: Mapping[str, bytes] = {},
    *,
    metadata: str = "",
    replace: Mapping[str, bytes | None] = {},
    file_name: str = "",
    compression: int = zipfile.ZIP_DEFLATED,
) -> str:
    """Write a wheel, however odd: *replace* changes or (None) removes members when all is done."""
    name, version = spec.split("==")
    info = dist_info(name, version)
    module = {f"{name.replace('-', '_')}.py": f"NAME = {name!r}, {version!r}\n".encode()}
    whole = wheel_files(name, version, {**module, **files})
    whole[f"{info}/METADATA"] += metadata.encode()
    rows = [record_row(path, content) for path, content in whole.items()]
    members: dict[str, bytes | None] = {
        **whole,
        f"{info}/RECORD": "\n".join([*rows, f"{info}/RECORD,,", ""]).encode(),
        **replace,
    }
    path = os.path.join(folder, file_name or f"{name.replace('-', '_')}-{version}-py3-none-any.whl")
    with zipfile.ZipFile(path, "w", compression) as archive:
        for member, content in members.items():
            if content is not None:
                at = zipfile.ZipInfo(member, (2020, 2, 2, 2, 2, 2))
                at.external_attr = (0o100755 if member.endswith(".sh") else 0o100644) << 16
                at.compress_type = compression
                archive.writestr(at, content)
    return path


def install(*words: str, code: int = 0) -> tuple[int, tuple[str, ...]]:
    """Ask for wheels of the folder."""
    return code, ("install", *LOCAL, *words)


def remove(*names: str) -> tuple[int, tuple[str, ...]]:
    """Uninstall, so that the next case finds what this one found."""
    return 0, ("uninstall", "-y", *names)


def entry_points(text: str, name: str) -> dict[str, bytes]:
    """Return the file with entry points."""
    return {f"{dist_info(name, '1.0')}/entry_points.txt": text.encode()}


def _dependencies(folder: str) -> None:
    extra = "Provides-Extra: more\nRequires-Dist: leaf; extra == 'more'\n"
    wheel(folder, "top==1.0", metadata=f"Requires-Dist: middle\n{extra}")
    wheel(folder, "middle==1.0")
    wheel(folder, "leaf==1.0")


def _scripts(folder: str) -> None:
    data = "scripted-1.0.data/scripts"
    wheel(
        folder,
        "scripted==1.0",
        {
            f"{data}/plain": b"#!python\nprint('plain')\n",
            f"{data}/window": b"#!pythonw\nprint('window')\n",
            f"{data}/shell": b"#!/bin/sh\necho shell\n",
            f"{data}/point": b"#!python\nprint('a wrapper of setuptools, which pip leaves out')\n",
            f"{data}/point-script.py": b"#!python\n",
            f"{data}/other.bat": b"echo\n",
            **entry_points(
                "[console_scripts]\npoint = scripted:main\nUpperCase = scripted:main\n"
                "[gui_scripts]\ngui = scripted:main\n",
                "scripted",
            ),
        },
    )


def _places(folder: str) -> None:
    data = "placed-1.0.data"
    wheel(
        folder,
        "placed==1.0",
        {
            f"{data}/headers/placed.h": b"#define X 1\n",
            f"{data}/data/share/placed/table.txt": b"1\n",
            f"{data}/data/top.txt": b"1\n",
            f"{data}/purelib/placed_pure.py": SOME,
            f"{data}/platlib/placed_plat.py": SOME,
            "placed_dir/run.sh": b"#!/bin/sh\n",
            "placed_dir/empty.txt": b"",
            "placed_dir/smör/ö.py": b"x = '\xc3\xb6'\n",
            "placed_dir/inner-1.0.dist-info/METADATA": b"Name: inner\n",
        },
        file_name="placed-1.0-1-py3-none-any.whl",
    )


def _versions(folder: str) -> None:
    for version in ("1.0", "2.0", "3.0rc1"):
        wheel(folder, f"versioned=={version}", {f"versioned_{version[0]}.py": SOME})
    bad = {"versioned-4.0.data/oops": b"a file where a scheme's folder should be\n"}
    wheel(folder, "versioned==4.0", bad)


def _packed(folder: str) -> None:
    for number, compression in enumerate((zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)):
        wheel(folder, f"packed{number}==1.0", {"packed_data/same.py": b"s = 1\n"}, compression=compression)


def _requirements(folder: str) -> None:
    import hashlib  # noqa: PLC0415 - only this case

    path = wheel(folder, "pinned==1.0")
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    for name, text in (("good", digest), ("bad", "0" * 64)):
        with open(f"{folder}/{name}.txt", "w", encoding="ascii") as stream:
            stream.write(f"pinned==1.0 --hash=sha256:{text}\n")
    with open(f"{folder}/constraints.txt", "w", encoding="ascii") as stream:
        stream.write("versioned<2\n")
    _versions(folder)


BACKEND = """
import os, zipfile

WHEEL = {
    "METADATA": "Metadata-Version: 2.1\\nName: source\\nVersion: 1.0\\n",
    "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    "RECORD": "",
}


def _wheel(folder, name, text):
    files = {name: text, **{f"source-1.0.dist-info/{key}": value for key, value in WHEEL.items()}}
    files["source-1.0.dist-info/RECORD"] = "".join(f"{name},,\\n" for name in files)
    with zipfile.ZipFile(os.path.join(folder, "source-1.0-py3-none-any.whl"), "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 2, 2, 2, 2, 2)), text)
    return "source-1.0-py3-none-any.whl"


def build_wheel(folder, config_settings=None, metadata_directory=None):
    return _wheel(folder, "source.py", open("source.py").read())


def build_editable(folder, config_settings=None, metadata_directory=None):
    return _wheel(folder, "source.pth", os.getcwd())
"""
"""A build backend (PEP 517, 660) without any requirement."""


def _source(folder: str) -> None:
    project = f"{folder}/project"
    os.makedirs(project)
    for name, text in (
        ("backend.py", BACKEND),
        ("source.py", "VALUE = 1\n"),
        ("pyproject.toml", "[build-system]\nrequires=[]\nbuild-backend='backend'\nbackend-path=['.']\n"),
    ):
        with open(f"{project}/{name}", "w", encoding="ascii") as stream:
            stream.write(text)


def _broken(folder: str, name: str, **changes: object) -> None:
    wheel(folder, f"{name}==1.0", **changes)  # type: ignore[arg-type]


def _two_owners(folder: str) -> None:
    for name in ("owner-one", "owner-two"):
        wheel(folder, f"{name}==1.0", {"common/__init__.py": f"OWNER = {name!r}\n".encode()})


SITE = "{site}"
CASES = (
    Case(
        name="dependencies, extras, REQUESTED",
        build=_dependencies,
        commands=(
            install("--no-deps", "top"),
            install("--report", "-", "-q", "--dry-run", "top[more]"),
            install("top[more]"),
            (0, ("show", "-f", "top")),
            remove("top", "leaf"),
            install("top"),
        ),
        there=(f"{SITE}/top-1.0.dist-info/REQUESTED", f"{SITE}/middle.py"),
        absent=(f"{SITE}/middle-1.0.dist-info/REQUESTED", f"{SITE}/leaf.py"),
    ),
    Case(
        name="scripts and entry points",
        build=_scripts,
        commands=(install("scripted"), install("--force-reinstall", "scripted")),
        there=(
            "bin/plain",
            "bin/window",
            "bin/shell",
            "bin/point",
            "bin/UpperCase",
            "bin/gui",
            "bin/other.bat",
        ),
        absent=("bin/point-script.py",),
    ),
    Case(
        name="headers, data, names, bits, a build tag",
        build=_places,
        commands=(install("placed"), (0, ("list",))),
        there=("top.txt", "share/placed/table.txt", f"{SITE}/placed_plat.py", f"{SITE}/placed_dir/smör/ö.py"),
    ),
    Case(
        name="upgrade, downgrade, prerelease, and a wheel that breaks off",
        build=_versions,
        commands=(
            install("versioned<2"),
            install("versioned<3"),
            install("--upgrade", "versioned<4", "--pre"),
            install("versioned==1.0"),
            install("--upgrade", "versioned==4.0", code=1),
            (0, ("show", "versioned")),
            install("--ignore-installed", "versioned==1.0"),
        ),
        there=(f"{SITE}/versioned_1.py", f"{SITE}/versioned-1.0.dist-info/RECORD"),
        absent=(f"{SITE}/versioned_2.py",),
    ),
    Case(
        name="ways of packing, one content",
        build=_packed,
        commands=(install("packed0", "packed1"), install("packed2"), remove("packed1", "packed2")),
    ),
    Case(
        name="hashes and constraints",
        build=_requirements,
        commands=(
            install("--require-hashes", "-r", "{wheels}/good.txt"),
            remove("pinned"),
            install("-r", "{wheels}/bad.txt", code=1),
            install("-c", "{wheels}/constraints.txt", "versioned", "--no-cache-dir"),
        ),
        there=(f"{SITE}/versioned_1.py",),
        absent=(f"{SITE}/pinned.py",),
    ),
    Case(
        name="a path, a URL, a fragment",
        build=lambda folder: wheel(folder, "direct==1.0"),
        commands=(
            (0, ("install", "--no-index", "{wheels}/direct-1.0-py3-none-any.whl")),
            (
                0,
                ("install", "--no-index", "file://{wheels}/direct-1.0-py3-none-any.whl", "--force-reinstall"),
            ),
            (1, ("install", "--no-index", "file://{wheels}/direct-1.0-py3-none-any.whl#sha256=" + "0" * 64)),
        ),
        there=(f"{SITE}/direct-1.0.dist-info/direct_url.json",),
    ),
    Case(
        name="source and editable",
        build=_source,
        commands=(
            (0, ("install", "--no-index", "--no-build-isolation", "{wheels}/project")),
            (0, ("install", "--no-index", "--no-build-isolation", "-e", "{wheels}/project")),
        ),
        there=(f"{SITE}/source.pth",),
        absent=(f"{SITE}/source.py",),
    ),
    Case(
        name="bytecode, or none",
        build=lambda folder: wheel(
            folder, "coded==1.0", {"coded_more/broken.py": BROKEN, "coded_more/a.py": SOME}
        ),
        commands=(install("--no-compile", "coded"), install("--compile", "--force-reinstall", "coded")),
    ),
    Case(
        name="one file of two",
        build=_two_owners,
        commands=(install("owner-one", "owner-two"), remove("owner-one")),
        absent=(f"{SITE}/common/__init__.py",),
    ),
    Case(
        name="elsewhere",
        build=_places,
        commands=(
            install("--target", "{place}/target", "placed"),
            install("--target", "{place}/target", "placed"),
            install("--target", "{place}/target", "--upgrade", "placed"),
            install("--prefix", "{place}/prefix", "placed"),
            install("--root", "{place}/root", "placed"),
        ),
        there=("place/target/placed_pure.py", "place/prefix/share/placed/table.txt"),
        absent=(f"{SITE}/placed.py",),
    ),
)


def refused(name: str, *, code: int = 1, **changes: object) -> Case:
    """A wheel that pip does not install."""
    return Case(
        name=f"refused: {name}",
        build=lambda folder: _broken(folder, "bad", **changes),
        commands=(install("bad", code=code),),
    )


INFO = dist_info("bad", "1.0")
BAD = (
    refused("a future format", replace={f"{INFO}/WHEEL": b"Wheel-Version: 3.0\n"}),
    refused("no format", replace={f"{INFO}/WHEEL": b""}),
    refused("no metadata folder", replace={f"{INFO}/{n}": None for n in ("METADATA", "WHEEL", "RECORD")}),
    refused("two metadata folders", files={"other-1.0.dist-info/METADATA": b""}),
    refused(
        "another's name", replace={f"{INFO}/METADATA": b"Metadata-Version: 2.1\nName: c\nVersion: 1.0\n"}
    ),
    refused(
        "another version", replace={f"{INFO}/METADATA": b"Metadata-Version: 2.1\nName: bad\nVersion: 2\n"}
    ),
    refused("no RECORD", replace={f"{INFO}/RECORD": None}),
    refused("a path out of it", files={"../../../out.py": SOME}),
    refused("a file instead of a scheme", files={"bad-1.0.data/file": SOME}),
    refused("an unknown scheme", files={"bad-1.0.data/unknown/file": SOME}),
    refused(
        "an entry point without a function", files=entry_points("[console_scripts]\nx = \n", "bad"), code=2
    ),
    Case(
        name="refused: no archive",
        build=lambda folder: open(f"{folder}/bad-1.0-py3-none-any.whl", "xb").close(),
        commands=(install("bad", code=1),),
    ),
    Case(
        name="refused: another platform",
        build=lambda folder: wheel(folder, "bad==1.0", file_name="bad-1.0-py2-none-win32.whl"),
        commands=(install("bad", code=1), (1, ("install", "{wheels}/bad-1.0-py2-none-win32.whl"))),
    ),
)
