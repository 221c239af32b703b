"""Libraries that read `sys.path`, sysconfig or metadata see the same as in an ordinary venv."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pip
import pytest
from support.pairs import make_pair
from support.synthetic import write

if TYPE_CHECKING:
    from pathlib import Path

    from support.pairs import Pair
    from support.synthetic import Environment

VISIBLE, HIDDEN = (), ("--no-dist-info",)


@pytest.fixture(scope="module", params=[VISIBLE, HIDDEN], ids=["dist-info", "no-dist-info"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    made = make_pair(str(tmp_path_factory.mktemp("pair")))
    if request.param:
        made.pipm("adopt", made.finder.path, "--link-mode", "finder", *request.param).expect()
    return made


SCHEMES = """\
import json, os, sys, sysconfig
import alpha.module_1, single, space.one, tool.classes, legacy.one
def real(path): return os.path.realpath(path) + "/"
posix = [scheme for scheme in sysconfig.get_scheme_names() if "posix" in scheme.split("_")]
places = [real(sysconfig.get_paths(s)[kind]) for s in posix for kind in ("purelib", "platlib", "scripts")]
places.append(real(sysconfig.get_path("stdlib")))
files = [os.path.realpath(m.__file__) for m in list(sys.modules.values()) if getattr(m, "__file__", None)]
own = [file for file in files if not any(file.startswith(place) for place in places)]
print(json.dumps([own, sysconfig.get_default_scheme(), sysconfig.get_path("purelib")]))
"""


def test_other_peoples_code_is_below_a_scheme(pair: Pair) -> None:
    """Coverage recognises third-party code by the real paths of all posix schemes."""
    flat, finder = (json.loads(e.run(SCHEMES)) for e in (pair.flat, pair.finder))
    assert flat[0] == finder[0]
    assert [file for file in flat[0] if not file.startswith("/etc/")] == []  # Debian's sitecustomize
    assert [text.replace(pair.finder.path, pair.flat.path) for text in finder[1:]] == flat[1:]
    early = json.loads(pair.finder.run(f"import sysconfig, site; site.main()\n{SCHEMES}", "-S"))
    assert [file for file in early[0] if file.startswith(pair.pipm.store)] == []


LISTED = """\
import importlib.metadata as m, json, sys
print(json.dumps(sorted(d.metadata['Name'] for d in m.distributions(path=json.loads(sys.argv[1])))))
"""


def test_another_process_sees_each_distribution_once(pair: Pair) -> None:
    """What pip-licenses and pipdeptree do: they take the environment's sys.path into their own process."""

    def seen(environment: Environment) -> list[str]:
        path = environment.run("import json, sys; print(json.dumps(sys.path))")
        code = f"import sys; sys.argv[1:] = [{path!r}]\n{LISTED}"
        return list(json.loads(pair.flat.run(code, "-S", "-I")))

    assert seen(pair.finder) == seen(pair.flat)
    assert "tool" in seen(pair.flat)


RESOURCES = """\
import json, sys, warnings
warnings.simplefilter("ignore")
sys.path.append(PIP)
import pip._vendor.pkg_resources as p
def told(question):
    try: return question()
    except Exception as error: return type(error).__name__
tool, need = p.get_distribution("tool"), p.Requirement("alpha")
print(json.dumps([
    told(lambda: p.require("tool")[0].version),
    told(lambda: p.load_entry_point("tool", "console_scripts", "tool").__module__),
    told(lambda: [str(point) for point in p.iter_entry_points("plugs")]),
    told(lambda: p.resource_exists(need, "alpha/module_1.py")),
    told(lambda: p.resource_exists(need, "alpha/nothing")),
    told(lambda: p.resource_string(need, "alpha/module_1.py").decode()),
    told(lambda: sorted(n for n in p.resource_listdir(need, "alpha") if n != "__pycache__")),
    told(lambda: open(p.resource_filename(need, "alpha/module_1.py")).read()),
    told(lambda: p.resource_filename("alpha", "module_1.py") is not None),
    told(lambda: [tool.has_metadata(name) for name in ("top_level.txt", "METADATA", "nothing")]),
    told(lambda: tool.get_metadata("top_level.txt")),
    told(lambda: tool.get_metadata("LICENSE")),
    told(lambda: sorted(d.key for d in p.Environment() for d in p.Environment()[d]).count("tool")),
    [d.key for d in p.working_set].count("tool"),
]))
"""


def test_pkg_resources(pair: Pair) -> None:
    code = RESOURCES.replace("PIP", repr(os.path.dirname(os.path.dirname(pip.__file__))))
    flat, finder = (json.loads(e.run(code)) for e in (pair.flat, pair.finder))
    assert finder == flat
    assert flat[-1] == 1


def test_what_is_left_beside_a_module_that_is_a_file(tmp_path: Path) -> None:
    """A folder in the store has only symlinks; other files come from programs."""
    pair = make_pair(str(tmp_path))
    folder = pair.finder.run("import os, single; print(os.path.dirname(single.__file__))").strip()
    write(f"{folder}/cache.db", b"x\n")
    found = pair.pipm("verify", "--json").expect().json
    assert [row.rpartition("/")[2] for row in found["unexpected"]] == ["cache.db"]
    pair.pipm("gc").expect()
    assert not os.path.lexists(f"{folder}/cache.db")
    write(f"{folder}/single2.py", b"X = 1\n")
    done = pair.pipm("verify", "--json")
    done.expect(1)
    (row,) = done.json["damaged"]
    assert row["path"].endswith("single2.py")
    pair.pipm("verify", "--repair").expect()
    assert not os.path.lexists(f"{folder}/single2.py")
    assert pair.finder.run("import single; print(single.VALUE)") == "2\n"
