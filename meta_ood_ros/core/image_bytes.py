"""Bytes of an image file -> whether they are all there, which decoders do not always say."""

_JPEG_START = b'\xff\xd8'
_JPEG_END = b'\xff\xd9'
_PNG_START = b'\x89PNG\r\n\x1a\n'
_PNG_END = b'IEND'


def is_complete(content: bytes) -> bool:
    """
    Return whether an image file reaches its end marker.

    Returns
    -------
    bool
        False for a JPEG or PNG that stops before it: OpenCV fills the rest of such a JPEG with
        grey. True where the format is another.

    """
    if content.startswith(_JPEG_START):
        return _jpeg_reaches_its_end(content)
    if content.startswith(_PNG_START):
        return content.rfind(_PNG_END, -64) >= 0
    return True


def _jpeg_reaches_its_end(content: bytes) -> bool:
    """
    Return whether an end marker follows the start of the scan.

    The segments before it are stepped over, because a thumbnail inside EXIF has an end marker of
    its own; within a scan the byte 0xff is never followed by 0xd9 (ITU T.81, B.1.1.5).
    """
    position = len(_JPEG_START)
    while position + 4 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        length = int.from_bytes(content[position + 2 : position + 4], 'big')
        if marker == 0xDA:  # start of scan
            return content.find(_JPEG_END, position + 2 + length) >= 0
        position += 2 + length
    return False
