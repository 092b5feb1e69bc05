"""Rows of the table: face models that there are, whether or not an importer reads them."""

from __future__ import annotations

from hrnfit.licences.part import Part

SUBSTITUTE = "--model generic, or ICT-FaceKit (MIT; `hrnfit models get ict`)"
"""Models that may be used commercially."""

FLAME_TERMS = "https://flame.is.tue.mpg.de/modellicense.html"
BASEL = "Basel Face Model licence: internal, non-commercial research, evaluation or testing"
BASEL_NOTE = "no passing on, of files made from it neither; the University of Basel sells a commercial licence"


def _basel(year: str, source: str, kind: str, hints: tuple[str, ...], more: str = "") -> Part:
    return Part(
        f"Basel Face Model {year}",
        "model",
        BASEL,
        "no",
        source,
        note=f"{BASEL_NOTE}{more}",
        substitute=SUBSTITUTE,
        importers=(kind,),
        hints=hints,
    )


def _flame(year: str) -> Part:
    return Part(
        f"FLAME {year}",
        "model",
        "FLAME academic model licence",
        "no",
        FLAME_TERMS,
        note="non-commercial research, education and art; no passing on; commercial licences from the "
        "Max Planck Society",
        substitute=f"FLAME 2023 Open (CC-BY-4.0), {SUBSTITUTE}",
        importers=("flame",),
        hints=(f"flame {year}", f"flame{year}"),
    )


MODELS: tuple[Part, ...] = (
    Part(
        "generic",
        "model",
        "Apache-2.0",
        "yes",
        "https://www.apache.org/licenses/LICENSE-2.0",
        needed=True,
        note="in the package of hrnfit; built by its code from published body measurements",
        hints=("priors/generic/build.py",),
    ),
    Part(
        "ICT-FaceKit",
        "model",
        "MIT",
        "yes",
        "https://github.com/ICT-VGL/ICT-FaceKit/blob/master/LICENSE",
        note="the published Light model; the authors announced other terms for their full model",
        attribution="Contains data of ICT-FaceKit, Copyright (c) 2020 USC Institute for Creative "
        "Technologies, MIT License (opensource.org/license/mit)",
        importers=("ict",),
        hints=("ict-facekit", "ict-vgl"),
    ),
    _basel(
        "2009",
        "https://faces.dmi.unibas.ch/bfm/main.php?nav=1-2&id=downloads",
        "bfm09",
        ("basel face model 2009", "bfm 2009", "bfm09", "bfm_model_front"),
        "; the `BFM_model_front.mat` of Deep3D and HRN also contains the expressions of Guo et al.",
    ),
    _basel(
        "2017",
        "https://faces.dmi.unibas.ch/bfm/bfm2017.html",
        "bfm17",
        ("basel face model 2017", "bfm 2017", "bfm17", "bfm2017"),
    ),
    _basel(
        "2019",
        "https://faces.dmi.unibas.ch/bfm/bfm2019.html",
        "bfm19",
        ("basel face model 2019", "bfm 2019", "bfm19", "bfm2019"),
    ),
    Part(
        "expressions of Guo et al. (Exp_Pca.bin)",
        "model",
        "research only (its repository also holds the text of the GPL-3.0)",
        "no",
        "https://github.com/Juyong/3DFace#license",
        note="part of the Basel 2009 model as Deep3D and HRN use it; the authors prohibit commercial use",
        substitute=SUBSTITUTE,
        hints=("exp_pca", "guo et al"),
    ),
    _flame("2020"),
    _flame("2023"),
    Part(
        "FLAME 2023 Open",
        "model",
        "CC-BY-4.0, with prohibited uses",
        "yes",
        FLAME_TERMS,
        note="after registration; not for pornographic, fake, libellous, misleading or defamatory content; "
        "covers this model file only, no textures, masks or add-ons of the same site",
        attribution="Contains data of FLAME 2023 Open, Max Planck Society, changed (converted, fitted); Li, "
        "Bolkart, Black, Li, Romero, ACM TOG 36(6), 2017; CC BY 4.0 "
        "(creativecommons.org/licenses/by/4.0)",
        importers=("flame",),
        hints=("flame 2023 open", "flame2023_open", "flame2023 open"),
    ),
    Part(
        "FLAME texture space",
        "model",
        "terms of the FLAME site",
        "ask",
        "https://flame.is.tue.mpg.de/",
        note="made from photographs of FFHQ, whose own licences differ; the Open model does not cover it",
        substitute="the smooth albedo that a model without one gets",
        hints=("flame_texture", "flame texture space"),
    ),
    Part(
        "FaceVerse",
        "model",
        "2-clause BSD for the repository; its data set: non-commercial research",
        "no",
        "https://github.com/LizhenWangT/FaceVerse/blob/main/LICENSE",
        note="the model files say nothing of their own; the agreement of the data set prohibits commercial use",
        substitute=SUBSTITUTE,
        importers=("faceverse",),
        hints=("faceverse",),
    ),
    Part(
        "HIFI3D",
        "model",
        "research only (its code: MIT)",
        "no",
        "https://github.com/tencent-ailab/hifi3dface/blob/master/3DMM/readme.md",
        note="ask the authors for commercial use",
        substitute=SUBSTITUTE,
        importers=("hifi3d",),
        hints=("hifi3d", "ai-next-shape"),
    ),
    Part(
        "HIFI3D++",
        "model",
        "research only (its code: MIT)",
        "no",
        "https://github.com/czh-98/REALY/blob/master/HIFI3D%2B%2B/README.md",
        note="built on FaceScape and LYHM too; ask the authors for commercial use",
        substitute=SUBSTITUTE,
        importers=("hifi3d++", "hifi3dpp"),
        hints=("hifi3d++",),
    ),
    Part(
        "FaceScape bilinear model",
        "model",
        "FaceScape agreement: non-commercial research",
        "no",
        "https://facescape.nju.edu.cn/",
        note="on application; no passing on",
        substitute=SUBSTITUTE,
        importers=("facescape",),
        hints=("facescape",),
    ),
)
