"""The artifact of a function as Lambda has it: its folder and its layer's, in a chosen state."""

import compileall
import os
import py_compile
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

#: The date that SAM gives every file of an archive: 1 January 1980, which is zip's first.
SAM_DATE = 315_532_800


@dataclass(frozen=True, slots=True)
class Artifact:
    """A function's folder, as under /var/task, and its layer's, as under /opt, if it has one."""

    task: Path
    layer: Path | None = None

    @property
    def path(self) -> list[Path]:
        """What Lambda puts on the import path, in its order."""
        return [self.task] if self.layer is None else [self.task, self.layer / "python"]

    @property
    def folders(self) -> list[Path]:
        return [self.task] if self.layer is None else [self.task, self.layer]

    def copy(self, to: Path) -> "Artifact":
        """A copy under ``to``, which must not be there yet, with the dates that SAM gives."""
        layer = None if self.layer is None else to / "opt"
        if self.layer is not None and layer is not None:
            shutil.copytree(self.layer, layer)
        shutil.copytree(self.task, to / "task")
        copied = Artifact(to / "task", layer)
        for folder in copied.folders:
            for path in [folder, *folder.rglob("*")]:
                os.utime(path, (SAM_DATE, SAM_DATE))
        return copied

    def read_only(self) -> "Artifact":
        """Take the right to write, as in Lambda. Root keeps it: programs run with ``-B`` too."""
        for folder in self.folders:
            for path in [folder, *folder.rglob("*")]:
                path.chmod(path.stat().st_mode & ~0o222)
        return self

    def compiled(self) -> "Artifact":
        """With recompiled bytecode, valid by its date, as Python itself leaves it."""
        by_date = py_compile.PycInvalidationMode.TIMESTAMP
        for folder in self.folders:
            compileall.compile_dir(folder, quiet=2, force=True, invalidation_mode=by_date)
        return self

    def zipped_bytes(self) -> int:
        """The size of its archives, compressed as SAM does it."""
        return sum(_zipped_bytes(folder) for folder in self.folders)


def remove(folder: Path) -> None:
    """Remove it even where an artifact in it was made read-only."""
    if not folder.exists():
        return
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


def _zipped_bytes(folder: Path) -> int:
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    entry = zipfile.ZipInfo(str(path.relative_to(folder)))
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    archive.writestr(entry, path.read_bytes())
        return file.tell()
