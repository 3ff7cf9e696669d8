"""Archives of arrays, as `numpy.savez` writes them, of which any damage shows when they are read."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosmos.errors import short_reason


def read_arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of an archive by name; nothing in it is unpickled or unpacked.

    Raises ValueError for bytes that do not have the checksums of the archive, or are none of `numpy.savez`.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            if any(member.file_size != member.compress_size for member in archive.zip.infolist()):
                raise ValueError("compressed, which numpy.savez does not do")
            return dict(archive)
    except Exception as error:  # a damaged zip can raise nearly anything
        raise ValueError(short_reason(error)) from None
