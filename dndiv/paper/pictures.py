"""Pictures made small: fewer colours, the same pixels."""

import base64
import io
import re
from pathlib import Path

from dndiv.paper import files

COLORS = 256
DIGEST = "drawn of"  # under which a PNG file has the digest of what it shows


def small(png: bytes, colors: int = COLORS) -> bytes:
    """A PNG with a palette of at most so many colours; as it is where that is not smaller."""
    from PIL import Image, PngImagePlugin

    with Image.open(io.BytesIO(png)) as picture:
        if picture.mode == "P":  # small already
            return png
        known = PngImagePlugin.PngInfo()
        if digest := picture.info.get(DIGEST):
            known.add_text(DIGEST, digest)
        flat = Image.new("RGB", picture.size, "white")
        flat.paste(picture, mask=picture.getchannel("A") if picture.mode == "RGBA" else None)
    buffer = io.BytesIO()
    # by the extent of the colours, not by how many pixels have them: a rare one keeps its meaning
    look = {"method": Image.Quantize.MAXCOVERAGE, "dither": Image.Dither.NONE}
    flat.quantize(colors, **look).save(buffer, "PNG", optimize=True, pnginfo=known)
    return min(buffer.getvalue(), png, key=len)


def drawn_of(digest: str, file: Path) -> bytes | None:
    """The content of a PNG file, if it has this digest."""
    if not (digest and file.is_file()):
        return None
    from PIL import Image

    content = files.content(file)
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return content if picture.info.get(DIGEST) == digest else None
    except OSError:  # it is no picture
        return None


def size(png: bytes) -> tuple[int, int]:
    """(width, height) of a PNG in pixels, by its header."""
    return int.from_bytes(png[16:20]), int.from_bytes(png[20:24])


def embedded(file: Path) -> dict[str, str | int]:
    """A PNG file, made small, as what an <img> takes: src, width, height."""
    content = files.content(file)
    width, height = size(content)
    text = base64.b64encode(small(content)).decode()
    return {"src": f"data:image/png;base64,{text}", "width": width, "height": height}


def described(docstring: str | None) -> str:
    """What a drawing function says of its picture, without its arguments."""
    said = " ".join((docstring or "").split()).replace("``", "")
    return re.split(r"(?<=\.) (?:[A-Z]?[a-z_, ]+: )", said)[0]
