"""Built engines on disk, each behind a line that says what it was built for."""

from dataclasses import asdict, dataclass
import hashlib
import json
import logging
import os
from pathlib import Path

from meta_ood_ros import __version__
from meta_ood_ros.core.whole_files import replace_whole
import torch
from torch import nn

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineKey:
    """All that an engine depends on: another value of any field asks for another engine."""

    network: str
    gpu: str
    tensorrt: str
    precision: str
    shape: tuple[int, int, int, int]

    @property
    def file_name(self) -> str:
        """Return the name of the engine's file, without GPU and version: these go stale."""
        batch, _, height, width = self.shape
        return f'{self.network[:16]}-{batch}x{height}x{width}-{self.precision}.engine'


class EngineCache:
    """A folder of engines."""

    def __init__(self, folder: str | Path = '') -> None:
        self.folder = Path(folder).expanduser() if str(folder) else default_folder()

    def load(self, key: EngineKey) -> bytes | None:
        """Return the engine built for exactly this key, or None."""
        path = self.folder / key.file_name
        try:
            note, engine = _unpack(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            logger.warning('Engine %s cannot be read (%s) and is built again.', path, error)
            return None
        wanted = _wanted(key, engine)
        changed = [name for name in wanted if note.get(name) != wanted[name]]
        if changed:
            logger.warning(
                'Engine %s was built for other %s and is built again.', path, ', '.join(changed)
            )
            return None
        return engine

    def store(self, key: EngineKey, engine: bytes) -> None:
        """Keep an engine; where that fails, warn and go on."""
        path = self.folder / key.file_name
        try:
            with replace_whole(path) as stream:
                os.fchmod(
                    stream.fileno(), 0o644
                )  # built as one user (of an image), read as another
                stream.write(json.dumps(_wanted(key, engine)).encode() + b'\n')
                stream.write(engine)
        except OSError as error:
            logger.warning(
                'Engine cannot be kept in %s (%s): it will be built at every start. '
                'Set engine_cache to a folder that can be written.',
                self.folder,
                error.strerror or error,
            )


def default_folder() -> Path:
    """Return meta_ood below $XDG_CACHE_HOME, which is ~/.cache where it is not set."""
    base = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return Path(base).expanduser() / 'meta_ood'


def hash_network(network: nn.Module) -> str:
    """Return the SHA-256 of a network: its layers, its weights and the version of this package."""
    digest = hashlib.sha256(f'{__version__}\n{network!r}\n'.encode())
    digest.update(getattr(network, 'content', b''))
    for name, value in network.state_dict().items():
        digest.update(f'{name} {value.dtype} {tuple(value.shape)}\n'.encode())
        bits = value.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(bits.numpy().tobytes())
    return digest.hexdigest()


def _wanted(key: EngineKey, engine: bytes) -> dict[str, object]:
    note = asdict(key) | {'shape': list(key.shape)}
    return note | {'content': hashlib.sha256(engine).hexdigest()}


def _unpack(content: bytes) -> tuple[dict[str, object], bytes]:
    """Return the note, which is the first line, and the engine behind it."""
    end = content.find(b'\n')
    note = json.loads(content[: max(end, 0)].decode())
    if not isinstance(note, dict):
        raise ValueError('its first line says nothing of it')
    return note, content[end + 1 :]
