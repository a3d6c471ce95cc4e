"""Weights of published feature networks, from an environment variable or downloaded once.

The SHA-256 of a file is recorded at first use. A file that has changed since is refused, because its scores
would not be comparable with earlier ones.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from ddgan.data.cache import cache_folder, check_cached
from ddgan.system.files import BLOCK, sha256_of, write_atomically

__all__ = ["Weights"]

TIMEOUT = 60.0
"""Seconds without an answer after which a download fails."""


@dataclass(frozen=True)
class Weights:
    """A published file of weights.

    Attributes:
        name: name of the features.
        url: its address.
        variable: environment variable with the path of a local copy to use instead.
    """

    name: str
    url: str
    variable: str

    def path(self) -> Path:
        """Return the path of the file, downloaded or not."""
        if given := os.environ.get(self.variable):
            return Path(given).expanduser()
        return cache_folder() / "weights" / self.url.rpartition("/")[2]

    def fetch(self) -> tuple[Path, str]:
        """Return the file, downloaded if necessary, and its SHA-256.

        Raises:
            ValueError: if it is missing and cannot be downloaded, or has changed since its first use.
        """
        path = self.path()
        if not path.is_file():
            if os.environ.get(self.variable):
                raise ValueError(
                    f"{self.variable} is '{path}', which does not exist; correct it, or unset it to "
                    "download the file"
                )
            self._download(path)
        checksum = sha256_of(path)
        self._compare(path, checksum)
        return path, checksum

    def _download(self, path: Path) -> None:
        check_cached(path, f"{path.name}, the weights of features {self.name},")
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with (
                os.fdopen(handle, "wb") as file,
                urllib.request.urlopen(self.url, timeout=TIMEOUT) as answer,
            ):
                shutil.copyfileobj(answer, file, BLOCK)
                expected = answer.headers.get("Content-Length")
                if expected is not None and file.tell() != int(expected):
                    raise OSError(f"only {file.tell():,} of {int(expected):,} bytes arrived")
            os.replace(partial, path)
        except OSError as error:  # includes urllib's errors
            reason = getattr(error, "reason", None) or error
            raise ValueError(
                f"features {self.name} need {path.name}, which could not be downloaded from {self.url} "
                f"({reason}); download it elsewhere and put its path in {self.variable}, or use --features "
                "classifier (of labelled data) or pixels (up to 8,192 values), which need no download"
            ) from None
        finally:
            Path(partial).unlink(missing_ok=True)

    def _compare(self, path: Path, checksum: str) -> None:
        record = cache_folder() / "weights" / f"{self.name}.sha256"
        if not record.is_file():
            check_cached(record, f"the SHA-256 of the weights of features {self.name}")
            write_atomically(record, checksum)
        elif (known := record.read_text(encoding="utf-8").strip()) != checksum:
            raise ValueError(
                f"'{path}' has the SHA-256 {checksum[:12]}..., but features {self.name} were first used with "
                f"{known[:12]}...; restore the first file, or delete '{record}' to accept the new one"
            )
