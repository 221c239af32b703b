"""The part of the finder's hook for `importlib.metadata` and importlib_metadata; installed beside the hook.

Loaded when a program asks for distributions. Uses only the standard library (CPython 3.9 and later, PyPy).
"""

import marshal
import os
import sys

OWN = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
"""Files of a metadata folder that the environment has and the store has not."""
KEPT = ("METADATA", "WHEEL", "entry_points.txt", *OWN)
"""Files of a metadata folder in the environment; other files are only in the store."""
ARCHIVE = ".pipm/finder/metadata"


def find_distributions(indexes, context):
    """Find the distributions on the path; those of *indexes*, by site-packages, with their stored files.

    The finders after this one get an empty path: otherwise they would list all distributions again.
    """
    library = sys.modules.get(type(context).__module__)  # importlib_metadata has its own Context class
    if library is None or not hasattr(library, "MetadataPathFinder"):
        import importlib.metadata as library
    if context is None:
        context = library.DistributionFinder.Context()
    path = list(context.path)
    if indexes.keys().isdisjoint(path):
        return ()
    settings = vars(context)
    unseen = {entry for index in indexes.values() for entry in (*index.known, index.path)}
    wanted = dict(settings, path=[entry for entry in path if entry not in unseen])
    found = library.MetadataPathFinder.find_distributions(library.DistributionFinder.Context(**wanted))
    settings["path"] = []
    kind = kind_of(library)
    infos = {site: index.infos() for site, index in indexes.items()}
    real = (ours(kind, indexes, infos, distribution) for distribution in found)
    without = [indexes[site] for site in path if site in indexes and indexes[site].no_dist_info]
    return with_stored_metadata(kind, without, infos, real, context.name) if without else real


def ours(kind, indexes, infos, distribution):
    """Return *distribution*; a served one as *kind*, which knows where its files are."""
    path = getattr(distribution, "_path", None)
    site = str(getattr(path, "parent", None))
    number = infos[site].get(path.name) if site in indexes else None
    if number is None:
        return distribution
    return stored(kind(path), indexes[site], number)


def stored(found, index, number):
    """Set in the distribution *found* the store's folders of its modules, and of all its files."""
    found._pipm_stored = index.folder(number)
    found._pipm_whole = f"{index.trees[number]}/site"
    return found


def with_stored_metadata(kind, without, infos, real, name):
    """Yield the distributions *real*, then those that have their metadata folder only in the store."""
    import pathlib

    seen = set()
    for distribution in real:
        seen.add(project(getattr(getattr(distribution, "_path", None), "name", "")))
        yield distribution
    wanted = None if name is None else project(name.replace("-", "_"))
    for index in without:
        for info, number in infos[index.site].items():
            one = project(info)
            if one not in seen and wanted in (None, one):
                seen.add(one)
                path = pathlib.Path(f"{index.trees[number]}/site", info)
                found = stored(kind(path), index, number)
                found._pipm_index = index
                yield found


def project(info):
    """Return the normalised project name (PEP 503) of a metadata folder."""
    name = info.partition("-")[0].lower().replace(".", "_")
    while "__" in name:
        name = name.replace("__", "_")
    return name


kinds = {}


def kind_of(library):
    """Return the class of served distributions for the standard library, or for importlib_metadata."""
    if library not in kinds:
        kinds[library] = stored_distribution(library.PathDistribution)
    return kinds[library]


def stored_distribution(base):
    """Return a subclass of *base* that looks for files in the environment, then in the store."""

    class StoredDistribution(base):
        _pipm_index = None

        def read_text(self, filename):
            if self._pipm_index is not None:
                if filename in OWN:
                    return archived(self._pipm_index, self._path.name, filename)
                text = super().read_text(filename)
                return archived(self._pipm_index, self._path.name, filename) if text is None else text
            text = super().read_text(filename)
            if text is None and filename not in KEPT:
                text = base(type(self._path)(self._pipm_whole, self._path.name)).read_text(filename)
            return text

        def locate_file(self, path):
            here = super().locate_file(path)
            # Paths of scripts and data (``../../../bin/x``) are relative to site-packages.
            site = here if self._pipm_index is None else type(self._path)(self._pipm_index.site, path)
            kind = type(self._path)
            places = (site, kind(self._pipm_stored, path), kind(self._pipm_whole, path))
            return next((place for place in places if os.path.lexists(place)), site)

        read_text.__doc__ = base.read_text.__doc__
        locate_file.__doc__ = base.locate_file.__doc__

    StoredDistribution.__name__ = StoredDistribution.__qualname__ = base.__name__
    return StoredDistribution


archives = {}


def archived(index, info, filename):
    """Return the text of a file of a removed metadata folder; None if it had no such file."""
    archive = archives.get(index.environment)
    if archive is None:
        try:
            with open(f"{index.environment}/{ARCHIVE}", "rb") as stream:
                archive = marshal.load(stream)
        except (OSError, EOFError, ValueError, TypeError):
            archive = {}
        archives[index.environment] = archive
    _, data = archive.get(info, {}).get(filename, (0, None))
    return None if data is None else data.decode("utf-8")
