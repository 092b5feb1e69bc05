"""Rows of the table: published weights of networks. hrnfit contains none; users add files that they hold."""

from __future__ import annotations

from hrnfit.licences.part import Part

SUBSTITUTE = "the optimisation, which needs no weights"

WEIGHTS: tuple[Part, ...] = (
    Part(
        "HRN's released networks",
        "weights",
        "not stated (the code beside them: Apache-2.0)",
        "ask",
        "https://github.com/youngLBW/HRN/blob/main/assets/README.md",
        note="trained on research data (FaceScape, ESRC and others) with a model derived from the Basel Face "
        "Model 2009, whose licences forbid commercial use; ask the authors",
        substitute=SUBSTITUTE,
        importers=("hrn",),
    ),
    Part(
        "HRN's de-retouching network",
        "weights",
        "not stated (the code beside it: Apache-2.0)",
        "ask",
        "https://github.com/youngLBW/HRN/blob/main/assets/README.md",
        note="how it was trained, and on which photographs, is not published; ask the authors",
        substitute="the albedo as fitted, without de-retouching",
        importers=("deretouch",),
    ),
    Part(
        "Deep3D's released network",
        "weights",
        "not stated (the code beside it: MIT)",
        "ask",
        "https://github.com/sicxu/Deep3DFaceRecon_pytorch#readme",
        note="trained on CelebA, LFW, 300W-LP, IJB-A, LS3D-W and FFHQ with the Basel Face Model 2009 and "
        "ArcFace, several of which are for non-commercial research only; ask the authors",
        substitute=SUBSTITUTE,
        importers=("deep3d",),
    ),
    Part(
        "ArcFace's released networks",
        "weights",
        "InsightFace: models for non-commercial research purposes only (its code: MIT)",
        "no",
        "https://github.com/deepinsight/insightface#license",
        note="the same for models downloaded by hand; commercial licences from InsightFace",
        substitute="the fit without the perceptual term",
        importers=("arcface",),
    ),
)
