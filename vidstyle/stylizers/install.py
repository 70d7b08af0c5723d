"""Installs model files as the user's own styles, and verifies styles."""

from __future__ import annotations

import os
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from vidstyle.core.errors import DiskError, OutputExistsError, StyleError, UsageError, VidstyleError
from vidstyle.core.files import is_url, reason, replaced, split_url
from vidstyle.core.model_file import MAX_MODEL_BYTES, read_model
from vidstyle.core.model_metadata import metadata_of
from vidstyle.styles import catalog
from vidstyle.stylizers.download import download
from vidstyle.stylizers.verification import verify_isolated, verify_model

_CHUNK = 1 << 20
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def install(
    origin: str,
    facts: Mapping[str, str | None],
    name: str | None = None,
    sha256: str | None = None,
    overwrite: bool = False,
    allow_network: bool = False,
    check: Callable[[], None] = lambda: None,
) -> str:
    """Add the model file or URL `origin` to the user's styles, after it has stylized a test image; returns its name.

    Without `name`, the name in the model's metadata or that of its file is used; `facts` (of `catalog.FACTS`) that are None or
    missing come from the metadata. `check` is called regularly, to interrupt.

    Raises `UsageError` for a URL without `allow_network` or `sha256`, `InputError` for a failed download, `StyleError` for a file
    with another sha256 or a bad model, `OutputExistsError`, `DiskError`, `MissingExtraError`.
    """
    sha256 = None if sha256 is None else sha256.lower()
    _check_request(origin, name, sha256, allow_network)
    suffix = _file_name(origin).suffix.lower()
    folder = catalog.user_folder()
    with writing_into(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if name is not None:  # before a pointless download
            _check_free(name, folder / f"{name}{suffix}", overwrite)
        with tempfile.TemporaryDirectory(prefix=".adding-", dir=folder) as scratch:
            model = Path(scratch) / f"model{suffix}"
            _save(origin, model, check)
            found = catalog.sha256(model)
            if sha256 not in (None, found):
                raise StyleError(f"expected a file with the sha256 {sha256}, got {found}: {origin}")
            try:
                verify_isolated(model, check)
            except StyleError as error:
                raise StyleError(str(error).replace(str(model), origin)) from error
            own = _metadata(model)
            name = name or _name(own, origin)
            _add(name, model, {key: value for key in catalog.FACTS if (value := facts.get(key) or own.get(key))}, overwrite)
    return name


def verify_style(name: str, check: Callable[[], None] = lambda: None) -> None:
    """Raise `StyleError` unless the files of the style `name` match its catalogue, and its model works."""
    path = catalog.find_style(name)
    folder, facts = catalog.all_styles()[name]
    if folder == catalog.shipped_folder():
        verify_model(path)
    else:
        verify_isolated(path, check)
    if "exemplar" in facts:
        catalog.find_exemplar(name)


@contextmanager
def writing_into(folder: Path) -> Iterator[None]:
    """Turn errors of the file system into a `DiskError` about `folder`."""
    try:
        yield
    except VidstyleError:
        raise
    except OSError as error:
        raise DiskError(f"could not write into {folder} ({reason(error)}); VIDSTYLE_STYLES can name another folder") from error


def _check_request(origin: str, name: str | None, sha256: str | None, allow_network: bool) -> None:
    if is_url(origin):
        if split_url(origin).scheme.lower() not in ("http", "https"):
            raise UsageError(f"expected a file or a URL of http or https, got {origin}")
        if not allow_network:
            raise UsageError(f"{origin} is a URL; use --allow-network to download it")
        if sha256 is None:
            raise UsageError(f"a download needs --sha256: {origin}")
    if sha256 is not None and not _DIGEST.fullmatch(sha256):
        raise UsageError(f"expected 64 hexadecimal digits as the sha256, got {sha256}")
    if name is not None and not _NAME.fullmatch(name):
        raise UsageError(f"expected a name of lower-case letters, digits and hyphens, got '{name}'")
    if _file_name(origin).suffix.lower() not in catalog.MODEL_SUFFIXES:
        raise UsageError(f"expected a model file that ends in {', '.join(sorted(catalog.MODEL_SUFFIXES))}, got {origin}")


def _check_free(name: str, model: Path, overwrite: bool) -> None:
    if overwrite:
        return
    if name in catalog.all_styles():
        raise OutputExistsError(f"a style '{name}' exists already; use --overwrite to replace it, or another --name")
    if os.path.lexists(model):
        raise OutputExistsError(f"{model} exists and belongs to no style; use --overwrite to replace it, or another --name")


def _add(name: str, model: Path, facts: Mapping[str, str], overwrite: bool) -> None:
    folder = catalog.user_folder()
    target = folder / f"{name}{model.suffix}"
    _check_free(name, target, overwrite)
    before = catalog.read_catalog(folder).get(name, {})
    entry = {"file": target.name, "sha256": catalog.sha256(model), **facts}
    with replaced(target) as temporary:
        model.rename(temporary)
    catalog.add_style(folder, name, entry)
    catalog.remove_unnamed(folder, before)


def _save(origin: str, target: Path, check: Callable[[], None]) -> None:
    chunks = download(origin, MAX_MODEL_BYTES, check) if is_url(origin) else _from_file(Path(origin))
    size = 0
    with target.open("wb") as file:
        for chunk in chunks:
            size += len(chunk)
            if size > MAX_MODEL_BYTES:
                raise StyleError(f"expected a style model of at most {MAX_MODEL_BYTES >> 20} MiB, got more: {origin}")
            file.write(chunk)


def _from_file(path: Path) -> Iterator[bytes]:
    if not os.path.isfile(path):
        raise StyleError(f"no such model file: {path}")
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise StyleError(f"could not read the style model {path} ({reason(error)})") from error


def _file_name(origin: str) -> Path:
    return Path(Path(unquote(split_url(origin).path) if is_url(origin) else origin).name)


def _name(own: Mapping[str, str], origin: str) -> str:
    """The style name of a model: from its metadata, else from its file name, without characters that are not allowed."""
    if _NAME.fullmatch(own.get("name", "")):
        return own["name"]
    plain = unicodedata.normalize("NFKD", _file_name(origin).stem).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if not name:
        raise UsageError(f"a file whose name has no letters or digits needs --name: {origin}")
    return name


def _metadata(path: Path) -> dict[str, str]:
    """The metadata of a model that vidstyle trained; empty for others."""
    return metadata_of(read_model(path)) if path.suffix.lower() == ".onnx" else {}
