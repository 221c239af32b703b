"""Install plans beside the manifests of the store: whole, without modules, and made again if damaged."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from pipm.store.entries import all_entries
from pipm.store.layout import open_store
from pipm.wheel.stored_install_plans import INSTALL_PLAN, load_install_plan
from support.synthetic import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipm.store.layout import Store
    from support.pipm import Pipm

FILES = {f"alpha/part_{number}/module.py": b"VALUE = %d\n" % number for number in range(40)}
TORN: dict[str, Callable[[bytes], bytes]] = {
    "zeros at its beginning": lambda data: bytes(100) + data[100:],
    "zeros in the first part": lambda data: data[:60] + bytes(20) + data[80:],
    "zeros at its end": lambda data: data[:-50] + bytes(50),
    "zeros alone": lambda data: bytes(len(data)),
    "short": lambda data: data[: len(data) // 2],
    "shorter than its head": lambda data: data[:10],
    "empty": lambda _: b"",
    "of an older pipm": lambda data: data.replace(b"blueprint 3", b"blueprint 2"),
}


@pytest.fixture
def stored(tmp_path: Path, pipm: Pipm) -> tuple[Store, str]:
    pipm("store", "add", make_wheel(str(tmp_path), "alpha==1.0", FILES)).expect()
    store = open_store(pipm.store)
    assert store is not None
    (entry,) = all_entries(store)
    return store, entry


def test_without_modules_the_rest_is_the_same(stored: tuple[Store, str]) -> None:
    made = load_install_plan(*stored)
    assert [folder.path for folder in made.folders if folder.names] == sorted(
        f"alpha/part_{number}" for number in range(40)
    )
    for modules in (True, False):
        read = load_install_plan(*stored, modules=modules)
        assert read == (made if modules else made._replace(folders=()))


@pytest.mark.parametrize("modules", [True, False])
@pytest.mark.parametrize("how", TORN)
def test_a_torn_one_is_made_anew(stored: tuple[Store, str], how: str, *, modules: bool) -> None:
    store, entry = stored
    made = load_install_plan(store, entry)
    path = f"{store.path}/v1/wheels/{entry}/{INSTALL_PLAN}"
    with open(path, "rb") as stream:
        data = stream.read()
    os.unlink(path)
    with open(path, "wb") as stream:
        stream.write(TORN[how](data))
    found = load_install_plan(store, entry, modules=modules)
    assert found._replace(folders=()) == made._replace(folders=())
    assert load_install_plan(store, entry) == made
