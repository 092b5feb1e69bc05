"""Files of a manifest from a public server: each is what the manifest says, to the byte, or an error.

An interrupted download goes on where it stopped (`Range` requests on `.part` files, where the server takes
them). A file gets its name only after size and SHA-256 were found right.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import logging
import os
import shutil
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

BLOCK = 1 << 16
RESERVE = 50_000_000
"""Bytes of disk that must remain free."""

GONE = (401, 403, 404, 410, 451)
"""Answers that another attempt will not change."""

CUT = (errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH)
"""Faults of a network that may come back."""

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Faults of a disk without room."""

Progress = Callable[[int, int], None]
"""Is told the bytes that are here, and all there will be."""


class DownloadError(OSError):
    """A file could not be had; the message says which, why and what to do."""


class _Passing(Exception):
    """A fault that may be gone at the next attempt."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


@dataclass(frozen=True)
class RemoteFile:
    """One file of a manifest."""

    path: str
    """Below the base address and below the folder alike, with slashes."""
    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True)
class Patience:
    """How hard to try."""

    attempts: int = 5
    """In a row that bring nothing new, before giving up."""
    pause: float = 1.0
    """Before the second attempt, s; doubled before each further one."""
    timeout: float = 30.0
    """Silence of the server after which an attempt ends, s."""
    connections: int = 4
    """Files at a time."""


def download(
    files: Sequence[RemoteFile],
    base_url: str,
    folder: Path,
    progress: Progress | None = None,
    patience: Patience | None = None,
) -> tuple[Path, ...]:
    """Bring all files into a folder, those that are there already excepted; their places, in order.

    Raises ValueError for an address that is not one, DownloadError otherwise; what has come so far
    stays and is not asked for again.
    """
    base = checked_base(base_url)
    patience = patience or Patience()
    total = sum(file.size for file in files)
    missing = [file for file in files if not _is_here(folder / file.path, file)]
    have = total - sum(file.size - _partial(folder, file) for file in missing)
    _check_disk(folder, total - have)
    job = _Job(base, folder, patience, progress, have, total)
    if progress is not None:
        progress(have, total)
    with ThreadPoolExecutor(max_workers=patience.connections) as pool:
        tasks = [pool.submit(job.fetch, file) for file in missing]
        try:
            done, _ = wait(tasks, return_when=FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            job.stop.set()  # after an error, or an interrupt, the others end at their next block
            for task in tasks:
                task.cancel()
    return tuple(folder / file.path for file in files)


def checked_base(url: str) -> str:
    """An http(s) address with a slash at its end."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"base address: expected https://... or http://..., got '{url}'")
    return url.rstrip("/") + "/"


class _Job:
    """One download of many files: what its threads share."""

    def __init__(
        self,
        base: str,
        folder: Path,
        patience: Patience,
        progress: Progress | None,
        have: int,
        total: int,
    ) -> None:
        self.base, self.folder, self.patience = base, folder, patience
        self.progress, self.have, self.total = progress, have, total
        self.stop = threading.Event()
        self.lock = threading.Lock()

    def fetch(self, file: RemoteFile) -> None:
        """One file, with as many attempts as bring something, and some that bring nothing."""
        target = self.folder / file.path
        part = target.with_name(target.name + ".part")
        target.parent.mkdir(parents=True, exist_ok=True)
        fruitless, spoilt, farthest = 0, False, _size(part)
        while not self.stop.is_set():
            try:
                self._attempt(file, part)
                if self.stop.is_set():
                    return
                if _digest(part) == file.sha256:
                    os.replace(part, target)
                    return
                self._drop(part)
                if spoilt:
                    raise DownloadError(
                        f"{self._url(file)}: SHA-256 is not {file.sha256[:16]}... of the manifest; the server "
                        "has another version of it: give another base address"
                    )
                spoilt, reason, pause = True, "wrong checksum", 0.0
            except _Passing as fault:
                reason, pause = str(fault), fault.pause
            except OSError as error:
                if error.errno in FULL:
                    raise DownloadError(
                        f"{part}: the disk is full; make room, or name another place with the variable "
                        "HRNFIT_HOME; the same command goes on from here"
                    ) from error
                raise
            fruitless = 0 if _size(part) > farthest else fruitless + 1
            farthest = max(farthest, _size(part))
            log.info("%s: %s; trying again", file.path, reason)
            if fruitless >= self.patience.attempts:
                raise DownloadError(
                    f"{self._url(file)}: {reason} ({fruitless} attempts); check the network or the proxy, or give "
                    "the base address of a mirror; the same command goes on from here"
                )
            self.stop.wait(max(pause, self.patience.pause * 2.0 ** max(fruitless - 1, 0)))

    def _attempt(self, file: RemoteFile, part: Path) -> None:
        """Add to the partial file what one answer brings."""
        here = _size(part)
        if here > file.size:
            self._drop(part)
            here = 0
        if here == file.size:
            return
        headers = {"User-Agent": "hrnfit", "Accept-Encoding": "identity"}
        if here:
            headers["Range"] = f"bytes={here}-"
        request = urllib.request.Request(self._url(file), headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=self.patience.timeout) as answer:
                if here and not _continues(answer, here):
                    self._drop(part)  # the server sends all of it
                self._append(answer, file, part)
        except urllib.error.HTTPError as error:
            raise self._refusal(error, file, part) from error
        except urllib.error.URLError as error:
            raise _Passing(f"no connection ({error.reason})") from error
        except (http.client.HTTPException, OSError) as error:
            if isinstance(error, OSError) and not _is_passing(error):
                raise
            raise _Passing(f"the connection broke off ({error or type(error).__name__})") from error

    def _append(self, answer: http.client.HTTPResponse, file: RemoteFile, part: Path) -> None:
        with part.open("ab") as out:
            while not self.stop.is_set():
                block = answer.read(BLOCK)
                if not block:
                    break
                if out.tell() + len(block) > file.size:
                    raise DownloadError(
                        f"{self._url(file)}: longer than the {file.size} bytes of the manifest; the server "
                        "has another version of it: give another base address"
                    )
                out.write(block)
                self._count(len(block))
            short = file.size - out.tell()
        if short and not self.stop.is_set():
            raise _Passing(f"the connection broke off, {short} bytes before the end")

    def _refusal(self, error: urllib.error.HTTPError, file: RemoteFile, part: Path) -> Exception:
        """What an answer of an error means."""
        error.close()
        if error.code in GONE:
            return DownloadError(
                f"{self._url(file)}: the server answers {error.code} {error.reason}; the repository has moved or "
                "the base address is wrong"
            )
        if error.code == 416:  # nothing begins there
            self._drop(part)
            return _Passing(
                f"the server's file is shorter than the {file.size} bytes of the manifest"
            )
        after = error.headers.get("Retry-After", "")
        pause = min(float(after), 60.0) if after.isdigit() else 0.0
        return _Passing(f"the server answers {error.code} {error.reason}", pause)

    def _url(self, file: RemoteFile) -> str:
        return self.base + urllib.parse.quote(file.path)

    def _drop(self, part: Path) -> None:
        self._count(-part.stat().st_size)
        part.unlink()

    def _count(self, change: int) -> None:
        with self.lock:
            self.have += change
            if self.progress is not None:
                self.progress(self.have, self.total)


def _continues(answer: http.client.HTTPResponse, here: int) -> bool:
    """Whether the answer begins where the partial file ends."""
    return answer.status == 206 and answer.headers.get("Content-Range", "").startswith(
        f"bytes {here}-"
    )


def _is_here(path: Path, file: RemoteFile) -> bool:
    return path.is_file() and path.stat().st_size == file.size and _digest(path) == file.sha256


def _partial(folder: Path, file: RemoteFile) -> int:
    """Bytes of a file that an earlier download left."""
    return _size(folder / (file.path + ".part"))


def _size(path: Path) -> int:
    """Bytes of a file, 0 where there is none."""
    return path.stat().st_size if path.is_file() else 0


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check_disk(folder: Path, needed: int) -> None:
    """There is room for what is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed and free < needed + RESERVE:
        raise DownloadError(
            f"{folder}: {needed / 1e6:.0f} MB are to come, but only {free / 1e6:.0f} MB of the disk are free; make "
            "room, or name another place with the variable HRNFIT_HOME"
        )


def _is_passing(error: OSError) -> bool:
    """Whether the network is at fault, not this machine's disk."""
    return isinstance(error, (ConnectionError, TimeoutError, ssl.SSLError)) or error.errno in CUT
