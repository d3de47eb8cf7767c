"""Scores that took long, kept from the first walk over the frames for the second."""

from collections.abc import Collection, Mapping
import hashlib
import io
from pathlib import Path
import shutil

from meta_ood_ros.core.files.whole_files import write_whole
import numpy as np
from numpy.typing import NDArray

LONG_S = 0.25
"""Seconds of network, classes and score from which a score is kept."""

MOST_BYTES = 1 << 33
"""Kept by one process at most; what comes after is computed again."""


class KeptScores:
    """Maps by image and method, exactly as they were; a file that is absent or torn is none."""

    def __init__(self, folder: Path, *, resume: bool) -> None:
        self._folder, self._bytes = folder, 0
        if not resume:
            self.clear()

    def clear(self) -> None:
        """Remove all that was kept."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def keep(
        self,
        image: NDArray[np.uint8],
        maps: Mapping[str, NDArray[np.float32]],
        seconds: Mapping[str, float],
    ) -> None:
        """Keep the maps that took long, as long as there is room."""
        for name, values in maps.items():
            if seconds[name] < LONG_S or self._bytes + values.nbytes > MOST_BYTES:
                continue
            content = io.BytesIO()
            np.save(content, values)
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._file(image, name), content.getvalue())
            self._bytes += values.nbytes

    def take(
        self, image: NDArray[np.uint8], names: Collection[str]
    ) -> dict[str, NDArray[np.float32]]:
        """Return what was kept of an image."""
        found = {}
        for name in names:
            try:
                values = np.load(self._file(image, name), allow_pickle=False)
            except (OSError, ValueError, EOFError):
                continue
            if values.shape == image.shape[:2]:
                found[name] = values
        return found

    def _file(self, image: NDArray[np.uint8], name: str) -> Path:
        content = hashlib.blake2b(image.tobytes(), digest_size=12).hexdigest()
        return self._folder / f'{content}.{name}.npy'
