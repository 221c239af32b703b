"""Files with security labels or NOCOW are shared only with files of the same kind."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.pipm import PARTLY, Pipm
from support.process import needs_root
from support.states import PLACE, differences, states
from support.synthetic import Environment, install, make_environment, package

if TYPE_CHECKING:
    from support.disks import Disk, Disks

LABEL = "security.selinux"
LIBRARY, OTHER = b"system_u:object_r:lib_t:s0", b"system_u:object_r:etc_t:s0"
TARGET = "alpha/module_1.py"


def installed(path: str) -> Environment:
    environment = make_environment(path)
    install(environment, "alpha==1.0", package("alpha"))
    environment.compile()
    return environment


def test_files_with_labels_that_differ_are_not_shared(filesystem: Disk) -> None:
    """Without SELinux in the kernel root may set the attribute; pipm sees no difference."""
    needs_root()
    first, second = (installed(filesystem / name) for name in ("a", "b"))
    for environment in (first, second):
        for folder, _, names in os.walk(environment.site):
            for name in names:
                os.setxattr(os.path.join(folder, name), LABEL, LIBRARY)
    os.setxattr(second.file(TARGET), LABEL, OTHER)
    pipm = Pipm(store=filesystem / "store")
    assert pipm.adopt(first.path, mode="hardlink").left == {}
    left = pipm.adopt(second.path, mode="hardlink", codes=(PARTLY,)).left
    assert [os.path.basename(path) for path in left] == [os.path.basename(TARGET)]
    assert not os.path.samefile(first.file(TARGET), second.file(TARGET))
    assert os.path.samefile(first.file("alpha/module_2.py"), second.file("alpha/module_2.py"))
    for environment, label in ((first, LIBRARY), (second, OTHER)):
        assert os.getxattr(environment.file(TARGET), LABEL) == label
    assert os.getxattr(first.bytecode("alpha/module_2.py"), LABEL) == LIBRARY
    pipm("verify", "--full").expect()


@pytest.mark.mounts
def test_an_environment_without_copy_on_write(disks: Disks) -> None:
    """It shares the files that it can share; the others stay."""
    with disks.small("btrfs", size="1G", name="nocow") as disk:
        os.mkdir(disk / "nocow")
        subprocess.run(["chattr", "+C", disk / "nocow"], check=True)
        special = installed(disk / "nocow/special")
        before = states(special.path)
        pipm = Pipm(store=disk / "store")
        pipm.adopt(special.path)
        first, second = (installed(disk / name) for name in ("a", "b"))
        for environment in (first, second):
            assert pipm.adopt(environment.path, mode="reflink").left == {}
        assert pipm("df", "--json").expect().json["saved"] > 0
        pipm("adopt", first.path, second.path, special.path).expect()
        pipm("verify", "--full").expect()
        pipm.release(special.path)
        found = differences(before, states(special.path), PLACE)
        assert [line for line in found if ".pyc: " not in line] == []
