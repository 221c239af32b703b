"""requirements.txt with pins."""

from __future__ import annotations

import pytest
from lock_files import LINUX, OLD, WINDOWS, A, B, C, Folder, LockFile
from pipm.core.pins import Archive, Repository
from pipm.core.pins import SourceFolder as Local
from pipm.errors import LockError
from pipm.lockfile.find_lock import lock_content

COMMIT = "0" * 40


@pytest.fixture
def folder(tmp_path: object) -> Folder:
    return Folder(path=str(tmp_path))


def lock(folder: Folder, text: str) -> LockFile:
    return folder.write("requirements.txt", text)


def test_pins_hashes_and_places(folder: Folder) -> None:
    pins = lock(
        folder,
        "# comment\n\n"
        "One.Two[extra] == 1.0 ; python_version >= '3.9' \\\n"
        f"    --hash=sha256:{A} \\\n"
        f"    --hash sha512:{B * 2}\n"
        "    # via app\n"
        f"two===2.0.0 --hash=sha256:{C}  # why\n",
    ).read()
    assert set(pins) == {"one-two", "two"}
    assert pins["one-two"].version == "1.0"
    assert pins["one-two"].hashes == (("sha256", A), ("sha512", B * 2))
    assert pins["one-two"].where == "line 3"
    assert (pins["two"].version, pins["two"].where) == ("2.0.0", "line 7")


def test_a_comment_ends_a_continuation(folder: Folder) -> None:
    pins = lock(folder, f"one==1 \\\n# why\ntwo==2 \\\n  --hash=sha256:{A} \\\n").fails()
    assert "line 1: one has no --hash" in pins


def test_markers(folder: Folder) -> None:
    file = lock(
        folder, "one==1 ; python_version < '3.10'\none==2 ; python_version >= '3.10'\nwin==1;os_name=='nt'"
    )
    assert file.versions(OLD) == {"one": "1"}
    assert file.versions(LINUX) == {"one": "2"}
    assert file.versions(WINDOWS) == {"one": "2", "win": "1"}


def test_included_files_and_constraints(folder: Folder) -> None:
    folder.write("more/base.txt", "two\n-c ../constraints.txt\n-r deep.txt")
    folder.write("more/deep.txt", "three==3")
    folder.write("constraints.txt", "two==2.5\nunneeded==1\nthree>=1")
    pins = lock(folder, "one==1\n--requirement=more/base.txt\n").read()
    assert {name: pin.version for name, pin in pins.items()} == {"one": "1", "two": "2.5", "three": "3"}
    assert pins["three"].where == "line 1"


def test_options_go_to_pip(folder: Folder) -> None:
    pins = lock(
        folder,
        "one==1 --config-settings='a=b c'\n-i https://i/simple\n--extra-index-url https://j/simple\n"
        "-f wheels\n--find-links=https://h/links\n--no-binary=:all:\n--pre\n--trusted-host h\n-fother\n",
    ).read()
    links = ["--find-links", f"{folder.path}/wheels", "--find-links", "https://h/links"]
    assert pins["one"].index_url == "https://i/simple"
    assert list(pins["one"].options) == [
        *("--extra-index-url", "https://j/simple"),
        *links,
        *("--no-binary", ":all:"),
        "--pre",
        *("--trusted-host", "h"),
        *("--find-links", f"{folder.path}/other"),
        *("--config-settings", "a=b c"),
    ]


def test_variables(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    monkeypatch.delenv("NOTHING", raising=False)
    monkeypatch.setenv("lower", "secret")
    pin = lock(folder, "-i https://${TOKEN}@i/$TOKEN/\none==1").read()["one"]
    assert pin.index_url == "https://secret@i/$TOKEN/"
    for name in ("NOTHING", "lower"):
        assert "line 2: " in lock(folder, f"-i https://i/${{{name}}}\none==1").fails()


def test_urls_paths_and_repositories(folder: Folder) -> None:
    folder.write("lib/pyproject.toml", '[project]\nname = "My_Lib"\nversion = "0.5"')
    folder.write("named/pyproject.toml", "")
    text = (
        "https://h/a-1.0-py3-none-any.whl\n"
        "b @ https://h/b.zip#subdirectory=s ; python_version > '3'\n"
        "./wheels/c-1.0.tar.gz\n"
        "file:///w/d-1.0-py3-none-any.whl\n"
        "-e ./lib[extra]\n"
        "./named#egg=e\n"
        f"git+https://h/f.git@{COMMIT}#egg=f&subdirectory=s\n"
        f"g @ git+ssh://git@h/g.git@{COMMIT}\n"
        f"-e git+https://h/h.git@{COMMIT}#egg=h\n"
        "x @ https://h/x.zip ; os_name == 'nt'\n"
        f"k @ file://{folder.path}/named\n"
    )
    pins = lock(folder, text).read()
    here = folder.path
    assert {name: pin.origin for name, pin in pins.items()} == {
        "a": Archive(file_name="a-1.0-py3-none-any.whl", url="https://h/a-1.0-py3-none-any.whl"),
        "b": Archive(file_name="b.zip", url="https://h/b.zip", subdirectory="s"),
        "c": Archive(file_name="c-1.0.tar.gz", path=f"{here}/wheels/c-1.0.tar.gz"),
        "d": Archive(file_name="d-1.0-py3-none-any.whl", path="/w/d-1.0-py3-none-any.whl"),
        "my-lib": Local(path=f"{here}/lib", editable=True),
        "e": Local(path=f"{here}/named"),
        "f": Repository(vcs="git", url="https://h/f.git", commit=COMMIT, subdirectory="s"),
        "g": Repository(vcs="git", url="ssh://git@h/g.git", commit=COMMIT),
        "h": Repository(vcs="git", url="https://h/h.git", commit=COMMIT),
        "k": Local(path=f"{here}/named"),
    }
    versions = {name: pin.version for name, pin in pins.items() if pin.version}
    assert versions == {"a": "1.0", "c": "1.0", "d": "1.0", "my-lib": "0.5"}


def test_hashes_of_urls(folder: Folder) -> None:
    wheel = "https://h/a-1.0-py3-none-any.whl"
    pins = lock(folder, f"{wheel}#sha256={A}\nb @ https://h/b.zip --hash=sha256:{B}\n").read()
    assert pins["a"].origin == Archive(file_name="a-1.0-py3-none-any.whl", url=wheel, hashes=(("sha256", A),))
    assert pins["b"].origin == Archive(file_name="b.zip", url="https://h/b.zip", hashes=(("sha256", B),))
    text = f"{wheel}#sha256={A}\n./c-1.0.tar.gz"
    assert "line 2: c has no --hash, but others have" in lock(folder, text).fails()


def test_the_same_twice_is_once(folder: Folder) -> None:
    pins = lock(folder, f"one==1.0 --hash=sha256:{A}\nOne[x]==1.0 --hash=sha256:{B}").read()
    assert pins["one"].hashes == (("sha256", A), ("sha256", B))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("one==1\ntwo>=2\n", "line 2: two is not pinned"),
        ("one==1.*", "line 1: one is not pinned"),
        ("one", "line 1: one is not pinned"),
        ("one==1\none==2", "line 2: one is selected twice"),
        ("one==1,==2", "line 1: one is not pinned"),
        ("one==x", "line 1: 'one==x' is not a valid requirement"),
        ("one @ ", "line 1: 'one @' is not a valid requirement"),
        ("one==1 ; python == 3", "line 1: "),
        ("one==1 --hash=sha256:12", "line 1: 'sha256:12' is not a hash"),
        ("one==1 --hash", "line 1: the option --hash lacks its value"),
        ("one==1 --pre", "line 1: the option --pre is not allowed for a single requirement"),
        ("--hash=sha256:12", "line 1: the option --hash is only allowed after a requirement"),
        ("one==1\n--wrong", "line 2: the option --wrong is unknown"),
        ("--pre=yes", "line 1: the option --pre takes no value"),
        ("--index-url", "line 1: the option --index-url lacks its value"),
        ("--index-url 'x", "line 1: cannot be read"),
        ("-r missing.txt", "line 1: there is no file missing.txt"),
        ("-r https://h/x.txt", "line 1: https://h/x.txt is not a local file"),
        ("one==1\n-r requirements.txt", "the file includes itself"),
        (f"one==1 --hash=sha256:{A}\ntwo==1", "line 2: two has no --hash, but others have"),
        ("--require-hashes\n-e .#egg=x", "line 2: x has no --hash"),
        ("https://h/x.zip", "line 1: https://h/x.zip does not contain its name"),
        ("https://h/", "line 1: https://h/ has no file name"),
        ("http://[x/a-1.0.zip", "line 1: 'http://[x/a-1.0.zip' is not a valid URL"),
        ("git+https://h/x.git#egg=x", "line 1: https://h/x.git#egg=x is not pinned"),
        ("x @ git+https://h/x.git@main", "line 1: https://h/x.git@main is not pinned"),
        ("./nowhere", "line 1: there is no folder"),
        ("https://h/a-1.0-cp39-cp39-win32.whl", "line 1: a 1.0 has no wheel"),
        (
            "https://h/a-1.0-py3-none-any-x86_64_v3.whl",
            "line 1: a-1.0-py3-none-any-x86_64_v3.whl is a variant",
        ),
        ("é==1", "line 1: "),
    ],
)
def test_what_does_not_fit_is_named(folder: Folder, text: str, part: str) -> None:
    assert part in lock(folder, text).fails()


def test_it_has_neither_extras_nor_groups(folder: Folder) -> None:
    file = lock(folder, "one==1")
    assert file.fails(extras=("x",)) == "LOCK: there is no extra x"
    assert file.fails(groups=("x",)) == "LOCK: there is no group x"
    assert lock(folder, "").read() == {}


def test_an_editable_with_a_marker(folder: Folder) -> None:
    """As Poetry and uv export it."""
    folder.write("mm/pyproject.toml", '[project]\nname = "mm"')
    lines = (
        "-e ./mm ; sys_platform == 'linux'\n-e ./none ; sys_platform == 'win32'\n",
        '--editable="./mm"; sys_platform == "linux"\n',
        f"-e file://{folder.path}/mm ; python_version >= '3.9' --config-settings=a=b\n",
        f"-e mm[x] @ file://{folder.path}/mm\n",
        f'-e "mm @ file://{folder.path}/mm" ; sys_platform == "linux"\n',
        f"--editable=mm @ file://{folder.path}/mm ; sys_platform == 'linux'\n",
    )
    for text in lines:
        (pin,) = lock(folder, text).read().values()
        assert (pin.name, pin.origin) == ("mm", Local(path=f"{folder.path}/mm", editable=True)), text
    assert lock(folder, "-e ./mm ; sys_platform == 'win32'").read() == {}


def test_projects_without_a_standard_name(folder: Folder) -> None:
    folder.write("by_poetry/pyproject.toml", '[tool.poetry]\nname = "by-poetry"')
    folder.write("by_cfg/setup.cfg", "[metadata]\nname = by.cfg\n")
    folder.write(
        "by_script/setup.py", "import setuptools as s\nif True:\n    s.setup(version='1', name='By_Script')"
    )
    folder.write("by_code/setup.py", "from setuptools import setup\nsetup(name=open('x').read())")
    folder.write("odd/setup.cfg", "no section")
    folder.write("br[x]/setup.cfg", "[metadata]\nname = br\n")
    pins = lock(folder, "-e ./by_poetry\n./by_cfg\n-e by_script/\n-e ./br[x]\n").read()
    assert set(pins) == {"by-poetry", "by-cfg", "by-script", "br"}
    assert pins["br"].origin == Local(path=f"{folder.path}/br[x]", editable=True)
    assert "./by_code does not contain its name" in lock(folder, "-e ./by_code").fails()
    assert "setup.cfg beside it cannot be read" in lock(folder, "-e ./odd").fails()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "latin-1"])
def test_encodings(folder: Folder, encoding: str) -> None:
    text = "-r more.txt\n# é\none==1\n"
    if encoding == "latin-1":
        text = f"# -*- coding: {encoding} -*-\n{text}"
    file = lock(folder, "")
    folder.write("more.txt", "two==2")
    with open(file.path, "wb") as stream:
        stream.write(text.encode(encoding))
    assert file.versions() == {"one": "1", "two": "2"}
    with open(file.path, "wb") as stream:
        stream.write(b"# coding: nonsense\n")
    assert "the file declares the encoding nonsense" in file.fails()


def test_an_included_file_of_utf_16_counts(folder: Folder) -> None:
    file, more = lock(folder, ""), folder.write("more.txt", "two==2")
    with open(file.path, "wb") as stream:
        stream.write("-r more.txt\n".encode("utf-16"))
    before = lock_content(file.path)
    folder.write("more.txt", "two==3")
    assert lock_content(file.path) != before
    assert more.path


def test_hints_that_fit(folder: Folder) -> None:
    weak = f"one==1 --hash=md5:{'0' * 32}"
    assert "line 1: the hash md5 is too weak" in lock(folder, weak).fails()
    with pytest.raises(LockError) as short:
        lock(folder, "x @ git+https://h/x@0123abc").read()
    assert short.value.hint is not None
    assert "40 digits" in short.value.hint
    with pytest.raises(LockError) as conda:
        lock(folder, "x @ file:///croot/x_1674/work").read()
    assert conda.value.hint is not None
    assert "pip list --format=freeze" in conda.value.hint
    with pytest.raises(LockError) as damaged:
        lock(folder, "one==1 --hash=sha256:12").read()
    assert damaged.value.hint == "lock again"


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ("", "any"),
        ("--no-binary one", "source"),
        ("--no-binary=two", "any"),
        ("--only-binary=:all:", "wheel"),
        ("--only-binary=:all: --no-binary=two,One", "source"),
        ("--no-binary=one --only-binary=:all:", "wheel"),
        ("--no-binary=one --no-binary=:none:", "any"),
        ("--no-binary=:all: --only-binary=:none:", "source"),
    ],
)
def test_which_archives_may_serve(folder: Folder, options: str, wanted: str) -> None:
    lines = options.replace(" --", "\n--")
    assert lock(folder, f"one==1\n{lines}\n").read()["one"].archives == wanted


def test_an_index_replaces_those_before_it(folder: Folder) -> None:
    pin = lock(
        folder, "--extra-index-url https://a\n-i https://b\n--extra-index-url https://c\none==1"
    ).read()
    assert (pin["one"].index_url, pin["one"].options) == ("https://b", ("--extra-index-url", "https://c"))
