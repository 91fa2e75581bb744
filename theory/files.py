"""Files that are whole or not there: written aside and moved into place."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a kill, or a full disk, leaves the old file or the new one.

    Raises
    ------
    OSError
        That names `path`, if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise _about(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner may read.
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        os.unlink(temporary)
        raise _about(path, error) from error
    except BaseException:
        os.unlink(temporary)
        raise


def _about(path: Path, error: OSError) -> OSError:
    # A write says neither to which file nor, where it was a temporary one, to which its reader would know.
    return OSError(error.errno, f"cannot write the file ({error.strerror})", str(path))
