"""Layers that are not stores, or that all users can change."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from pipm.errors import StoreError
from pipm.store.layers import open_layers
from pipm.store.layout import open_store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("folder", ["", "objects", "bytecode", "wheels"])
def test_a_folder_is_missing_or_open_to_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    layer = f"{tmp_path}/layer"
    open_store(layer)
    os.chmod(f"{layer}/v1/{folder}", 0o777)
    monkeypatch.setenv("PIPM_STORE_LAYERS", layer)
    with pytest.raises(StoreError, match="All users can write to the layer"):
        open_layers(f"{tmp_path}/own")
    shutil.rmtree(f"{layer}/v1/{folder}")
    with pytest.raises(StoreError, match=f"The layer {layer} is not a store that pipm can read: No such"):
        open_layers(f"{tmp_path}/own")
