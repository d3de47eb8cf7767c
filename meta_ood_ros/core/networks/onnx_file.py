"""ONNX bytes -> refused where they may never end or point elsewhere, before they are run."""

from __future__ import annotations

from collections.abc import Iterator

from meta_ood_ros.core.error_text import brief

#: Operators whose running time no shape bounds; a segmentation network has no use for them.
ENDLESS = (
    *('Loop', 'Scan', 'SequenceMap', 'While'),
    *('BeamSearch', 'GreedySearch', 'Sampling', 'WhisperBeamSearch'),
)
_EXTERNAL = 1
_DEEPEST = 32
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5

#: Message -> field number -> message of that field, as onnx.proto numbers them.
_FIELDS = {
    'model': {7: 'graph', 20: 'training', 25: 'function'},
    'training': {1: 'graph', 2: 'graph'},
    'function': {7: 'node', 11: 'attribute'},
    'graph': {1: 'node', 5: 'tensor', 15: 'sparse'},
    'node': {5: 'attribute'},
    'attribute': {
        **{5: 'tensor', 6: 'graph', 10: 'tensor', 11: 'graph'},
        **{22: 'sparse', 23: 'sparse'},
    },
    'sparse': {1: 'tensor', 2: 'tensor'},
    'tensor': {},
}
_OPERATOR, _PLACE, _IS_EXTERNAL = ('node', 4), ('tensor', 13), ('tensor', 14)


def check_onnx(content: bytes) -> None:
    """
    Refuse a graph that may never end, or whose weights lie in another file.

    Raises
    ------
    ValueError
        It holds a loop, points to another file, or is no ONNX file.

    """
    try:
        _check(memoryview(content), 'model', 0)
    except (IndexError, RecursionError) as error:
        raise ValueError(
            f'ONNX network must be one self-contained .onnx file, got {len(content)} bytes that '
            'are none. It is damaged: copy or export it again.'
        ) from error


def _check(message: memoryview, kind: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise IndexError
    for number, value in _split(message):
        if (kind, number) == _OPERATOR and isinstance(value, memoryview):
            operator = bytes(value[:64]).decode(errors='replace')
            if operator in ENDLESS:
                raise ValueError(
                    f'ONNX network must have no operator that may run for ever, got {operator}. '
                    'Export it without loops, for example by tracing with torch.onnx.export.'
                )
        elif (kind, number) == _PLACE or ((kind, number) == _IS_EXTERNAL and value == _EXTERNAL):
            place = brief(_file_name(value)) if isinstance(value, memoryview) else 'another file'
            raise ValueError(
                'ONNX network must be one self-contained .onnx file, got weights that lie in '
                f'{place}. Save it in one: onnx.save(onnx.load(path), path).'
            )
        elif number in _FIELDS[kind] and isinstance(value, memoryview):
            _check(value, _FIELDS[kind][number], depth + 1)


def _file_name(entry: memoryview) -> str:
    """Return the value of a pair of strings."""
    parts = [bytes(value) for _, value in _split(entry) if isinstance(value, memoryview)]
    return parts[-1].decode(errors='replace') if parts else ''


def _split(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the number and the content of each field of a protobuf message."""
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _read_varint(message, at)
            yield number, value
        elif wire in (_EIGHT_BYTES, _LENGTH, _FOUR_BYTES):
            length = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(wire, 0)
            if wire == _LENGTH:
                length, at = _read_varint(message, at)
            if at + length > len(message):
                raise IndexError
            yield number, message[at : at + length]
            at += length
        else:
            raise IndexError


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise IndexError
