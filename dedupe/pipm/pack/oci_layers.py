"""An OCI image layout with a layer for each distribution, equal byte for byte wherever it is made.

So a registry and the hosts that pull keep each distribution once, whatever images have it.
"""

from __future__ import annotations

import datetime as dt
import json
import platform
from typing import TYPE_CHECKING

from pipm.core.digest import Digest
from pipm.fs.layer_blobs import make_layout, write_blob, write_layer, write_layout_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipm.fs.image_files import ImageFile
    from pipm.fs.layer_blobs import LayerBlob

_TYPE = "application/vnd.oci.image"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


def grouped(names: Iterable[tuple[str, int]], most: int) -> list[list[str]]:
    """Put *names*, each with its size in bytes, into at most *most* layers.

    The largest have a layer each; a fifth of the layers are shared by the rest, each in the one that its name
    decides: another version of one changes no other layer.
    """
    ordered = [name for name, _ in sorted(names, key=lambda row: (-row[1], row[0]))]
    if len(ordered) <= most:
        return [[name] for name in sorted(ordered)]
    shared = max(1, most // 5)
    alone = [[name] for name in sorted(ordered[: most - shared])]
    buckets: dict[int, list[str]] = {}
    for name in sorted(ordered[most - shared :]):
        project = name.partition("/")[0]
        buckets.setdefault(int.from_bytes(Digest.of(project.encode())[:4]) % shared, []).append(name)
    return [*alone, *(buckets[number] for number in sorted(buckets))]


def write_layers(
    folder: str, layers: Mapping[str, list[ImageFile]], prefix: str, time: int
) -> list[tuple[str, LayerBlob]]:
    """Write the image of *layers* (what each is, and its files below *prefix*) to the new *folder*."""
    make_layout(folder)
    inside = prefix.strip("/")
    blobs = []
    for title, files in layers.items():
        below = [
            file._replace(path=f"{inside}/{file.path}", link=f"{inside}/{file.link}" if file.link else "")
            for file in files
        ]
        blobs.append((title, write_layer(folder, below, time)))
    config = write_blob(folder, _config(blobs, prefix, time))
    manifest = write_blob(folder, _manifest(config, blobs))
    described = _descriptor("manifest.v1+json", manifest)
    described["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    write_layout_file(folder, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    write_layout_file(folder, "index.json", _json({"schemaVersion": 2, "manifests": [described]}))
    return blobs


def _config(blobs: list[tuple[str, LayerBlob]], prefix: str, time: int) -> bytes:
    created = dt.datetime.fromtimestamp(time, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    path = f"{prefix}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    machine = platform.machine()
    return _json(
        {
            "created": created,
            "architecture": _MACHINES.get(machine, machine),
            "os": "linux",
            "config": {"Env": [f"PATH={path}", f"VIRTUAL_ENV={prefix}"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{blob.unpacked}" for _, blob in blobs]},
            "history": [{"created": created, "created_by": f"pipm layers: {title}"} for title, _ in blobs],
        }
    )


def _manifest(config: LayerBlob, blobs: list[tuple[str, LayerBlob]]) -> bytes:
    layers = []
    for title, blob in blobs:
        layers.append(_descriptor("layer.v1.tar+gzip", blob))
        layers[-1]["annotations"] = {"org.opencontainers.image.title": title}
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_TYPE}.manifest.v1+json",
            "config": _descriptor("config.v1+json", config),
            "layers": layers,
        }
    )


def _descriptor(kind: str, blob: LayerBlob) -> dict[str, object]:
    return {"mediaType": f"{_TYPE}.{kind}", "digest": f"sha256:{blob.digest}", "size": blob.size}


def _json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")
