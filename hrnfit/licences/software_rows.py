"""Rows of the table: our code, renderers, detectors, solvers, viewers, libraries, data."""

from __future__ import annotations

from hrnfit.licences.part import Part, PartKind

APACHE = "https://www.apache.org/licenses/LICENSE-2.0"


def _library(
    name: str, distribution: str, module: str, licence: str, source: str, needed: bool = True
) -> Part:
    return Part(
        name,
        "library",
        licence,
        "yes",
        f"https://github.com/{source}",
        needed=needed,
        module=module,
        distribution=distribution,
    )


def _own(name: str, kind: PartKind, note: str) -> Part:
    return Part(name, kind, "Apache-2.0", "yes", APACHE, needed=True, note=note)


SOFTWARE: tuple[Part, ...] = (
    _own("hrnfit", "code", "code, recipes, notebooks and documents of hrnfit"),
    _own("cpu", "renderer", "part of hrnfit"),
    Part(
        "cuda",
        "renderer",
        "Apache-2.0",
        "yes",
        APACHE,
        note="part of hrnfit; Triton compiles its kernels",
        module="triton",
    ),
    _own("reference", "renderer", "part of hrnfit; slow, the oracle of the tests"),
    Part(
        "nvdiffrast",
        "renderer",
        "NVIDIA Source Code License (1-Way Commercial)",
        "no",
        "https://github.com/NVlabs/nvdiffrast/blob/main/LICENSE.txt",
        note="research and evaluation only, for anybody but NVIDIA: section 3.3, the same in release 0.4.0",
        substitute="--device cpu",
        module="nvdiffrast",
        distribution="nvdiffrast",
    ),
    Part(
        "MediaPipe",
        "detector",
        "Apache-2.0",
        "yes",
        "https://github.com/google-ai-edge/mediapipe/blob/master/LICENSE",
        note="its networks, which lie in its wheel, too: see their model cards",
        module="mediapipe",
        distribution="mediapipe",
    ),
    _own(
        "hrnfit solvers",
        "solver",
        "part of hrnfit: the landmark start, and stages surface, coefficients, map",
    ),
    Part(
        "torch.optim",
        "solver",
        "BSD-3-Clause",
        "yes",
        "https://github.com/pytorch/pytorch/blob/main/LICENSE",
        needed=True,
        note="stages adam and lbfgs",
        module="torch",
        distribution="torch",
    ),
    Part(
        "Theseus",
        "solver",
        "MIT",
        "yes",
        "https://github.com/facebookresearch/theseus/blob/main/LICENSE",
        note="with torchlie and torchkin; for training loops of your own, no stage of a fit uses it",
        module="theseus",
        distribution="theseus-ai",
    ),
    Part(
        "viser",
        "viewer",
        "Apache-2.0 by its licence file, MIT by its metadata",
        "yes",
        "https://github.com/nerfstudio-project/viser/blob/main/LICENSE",
        module="viser",
        distribution="viser",
    ),
    _library("PyTorch", "torch", "torch", "BSD-3-Clause", "pytorch/pytorch/blob/main/LICENSE"),
    _library("NumPy", "numpy", "numpy", "BSD-3-Clause", "numpy/numpy/blob/main/LICENSE.txt"),
    _library("SciPy", "scipy", "scipy", "BSD-3-Clause", "scipy/scipy/blob/main/LICENSE.txt"),
    _library(
        "OpenCV",
        "opencv-python-headless",
        "cv2",
        "Apache-2.0 (its wheels contain FFmpeg, LGPL-2.1)",
        "opencv/opencv-python/blob/4.x/LICENSE-3RD-PARTY.txt",
    ),
    _library("Kornia", "kornia", "kornia", "Apache-2.0", "kornia/kornia/blob/main/LICENSE"),
    _library("Numba", "numba", "numba", "BSD-2-Clause", "numba/numba/blob/main/LICENSE"),
    _library("trimesh", "trimesh", "trimesh", "MIT", "mikedh/trimesh/blob/main/LICENSE.md"),
    _library(
        "scikit-image",
        "scikit-image",
        "skimage",
        "BSD-3-Clause",
        "scikit-image/scikit-image/blob/main/LICENSE.txt",
    ),
    _library("Pillow", "pillow", "PIL", "MIT-CMU", "python-pillow/Pillow/blob/main/LICENSE"),
    _library("tifffile", "tifffile", "tifffile", "BSD-3-Clause", "cgohlke/tifffile"),
    _library("OpenEXR", "OpenEXR", "OpenEXR", "BSD-3-Clause", "AcademySoftwareFoundation/openexr"),
    _library("PyYAML", "pyyaml", "yaml", "MIT", "yaml/pyyaml/blob/main/LICENSE"),
    _library("jaxtyping", "jaxtyping", "jaxtyping", "MIT", "patrick-kidger/jaxtyping"),
    _library(
        "safetensors",
        "safetensors",
        "safetensors",
        "Apache-2.0",
        "huggingface/safetensors/blob/main/LICENSE",
    ),
    _library("Rich", "rich", "rich", "MIT", "Textualize/rich/blob/master/LICENSE"),
    _library("Tyro", "tyro", "tyro", "MIT", "brentyi/tyro/blob/main/LICENSE"),
    _library(
        "Triton", "triton", "triton", "MIT", "triton-lang/triton/blob/main/LICENSE", needed=False
    ),
    _library("h5py", "h5py", "h5py", "BSD-3-Clause", "h5py/h5py/blob/master/LICENSE", needed=False),
    _library(
        "Ninja",
        "ninja",
        "ninja",
        "Apache-2.0",
        "ninja-build/ninja/blob/master/COPYING",
        needed=False,
    ),
    Part(
        "portrait of an astronaut",
        "data",
        "public domain (NASA)",
        "yes",
        "https://scikit-image.org/docs/stable/api/skimage.data.html#skimage.data.astronaut",
        note="the demo's photograph, from inside the scikit-image package",
    ),
)
