"""The photographs a result carries for overlays and the report: whole, upright, sRGB JPEG.

They are for looking at. A fit is continued from the original files, never from these.
"""

from __future__ import annotations

import os
import threading
from collections.abc import MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from hrnfit.io.image import encode_srgb

_threads: dict[int, ThreadPoolExecutor] = {}
_started: MutableMapping[Tensor, Future[bytes]] = WeakIdKeyDictionary()
"""Photographs on their way, by the image they are of, as long as it lives."""
_lock = threading.Lock()


def started_photograph(image: Float[Tensor, "H W 3"]) -> Future[bytes]:
    """`photograph_from_image` in a thread, once per image tensor: one of 1024 px takes 15 to 45 ms."""
    with _lock:
        if image not in _started:
            process = os.getpid()  # a forked child inherits no threads: it makes its own
            if process not in _threads:
                _threads[process] = ThreadPoolExecutor(4, thread_name_prefix="hrnfit-photograph")
            _started[image] = _threads[process].submit(photograph_from_image, image)
        return _started[image]


def photograph_from_image(
    image: Float[Tensor, "H W 3"], max_size: int = 2400, quality: int = 92
) -> bytes:
    """JPEG of a linear RGB image, shrunk so that its longer side has at most `max_size` px.

    2400 px keeps a face of a tenth of the frame at 240 px, and costs about 0.6 MB per view.
    """
    height, width = image.shape[:2]
    scale = max_size / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        # shrunk before the sRGB curve: averaging light, not code values
        pixels = image.detach().cpu().float().numpy()
        image = torch.from_numpy(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
    return encode_jpeg(encode_srgb(image), quality)


def encode_jpeg(pixels: UInt8[np.ndarray, "H W 3"], quality: int = 85) -> bytes:
    """JPEG file content of 8-bit sRGB pixels."""
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def encode_webp(pixels: UInt8[np.ndarray, "H W C"], quality: int = 82) -> bytes:
    """WebP file content of 8-bit sRGB pixels, with alpha when there are four channels."""
    bgr = np.ascontiguousarray(pixels[..., [2, 1, 0, 3][: pixels.shape[2]]])
    return cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()


def decode_photograph(content: bytes) -> UInt8[np.ndarray, "H W 3"]:
    """8-bit sRGB pixels of an image file's content."""
    bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError("photographs: the stored picture cannot be decoded; run the fit again")
    return np.ascontiguousarray(bgr[..., ::-1])
