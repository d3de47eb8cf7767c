"""The folder that a demo fills: pictures, contact sheet, recording, the node's log."""

from __future__ import annotations

from pathlib import Path
import re

import cv2
from meta_ood_ros.bags.bag import BagWriter
from meta_ood_ros.core.files.image_file import write_image_file
from meta_ood_ros.demo.answers import Received
from meta_ood_ros.demo.contact_sheet import ContactSheet
import numpy as np

_SHEET, _TOP_VIEW, _RECORDING, _MANIFEST = (
    'contact_sheet.png', 'top_view.png', 'demo', '.pictures',
)  # fmt: skip
_JPEG_QUALITY = 92


class OutputFolder:
    """
    Writes what a run leaves behind; the pictures of the run before are removed.

    Raises
    ------
    OSError
        Here and in every method that writes: disk full, no permission.

    """

    def __init__(self, folder: Path, *, frames: int, title: str, record: bool) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._manifest = folder / _MANIFEST
        self._remove_old()
        self._title = title
        self._pictures = 0
        self.sheet = ContactSheet(frames)
        self.top_view = ContactSheet(frames)
        self._written: list[str] = []
        self._bag = BagWriter(folder, _RECORDING) if record else None

    def _remove_old(self) -> None:
        """Remove what an earlier run has listed, and nothing else."""
        if self._manifest.exists():
            for name in self._manifest.read_text().splitlines():
                (self.folder / Path(name).name).unlink(missing_ok=True)
        self._manifest.write_text(f'{_SHEET}\n{_TOP_VIEW}\n')

    def record(self, message: Received) -> None:
        """Append a message to the bag."""
        if self._bag is not None:
            self._bag.write(
                message.topic,
                message.type_name,
                message.data,
                message.time_ns,
                latched=message.latched,
            )

    def write_picture(self, number: int, name: str, picture: np.ndarray) -> None:
        """
        Write the picture of one frame.

        Parameters
        ----------
        picture : ndarray of shape (H, W, 3), uint8
            RGB.

        """
        file = f'{number + 1:04d}_{re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[:80]}.jpg'
        with self._manifest.open('a') as manifest:
            manifest.write(f'{file}\n')
        _write(self.folder / file, picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        self._pictures += 1

    def summary(self) -> str:
        """Return what lies where."""
        lines = [f'pictures      {self.folder}/*.jpg ({self._pictures})']
        lines += self._written
        if self._bag is not None and self._bag.path.exists():
            megabytes = self._bag.path.stat().st_size / 1e6
            lines.append(
                f'recording     {self._bag.path} ({len(self._bag.counts)} topics, '
                f'{self._bag.counts.total()} messages, {megabytes:.0f} MB)'
            )
            labels = sorted(one for one in self._bag.counts if one.endswith('labels'))
            if labels:
                image = f'{labels[0].removesuffix("labels")}image'
                lines.append(
                    f'to fit on it  meta-ood-train segments runs/segments --bag {self.folder} '
                    f'--image-topic {image} --label-topic {labels[0]} --block-seconds 2'
                )
        return '\n'.join(lines)

    def close(self) -> None:
        """Write the contact sheet and finish the bag."""
        try:
            rings = f'{self._title}, from above: rings are unknown objects, crosses segments'
            for what, file, sheet, title in (
                ('contact sheet', _SHEET, self.sheet, self._title),
                ('from above', _TOP_VIEW, self.top_view, rings),
            ):
                page = sheet.draw(title)
                if page is not None:
                    _write(self.folder / file, page, [])
                    self._written.append(f'{what:<13} {self.folder / file}')
        finally:
            if self._bag is not None:
                self._bag.close()


def _write(path: Path, picture: np.ndarray, options: list[int]) -> None:
    write_image_file(path, picture[..., ::-1], options)
