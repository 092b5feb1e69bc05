"""Arguments of the wrong kind, as a notebook gives them: in a process without the tests' type checks."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

CASES = {
    "images=3": "images: expected a path, an array, several or a dict of them, got int",
    "images=None": "images: expected a path, .* got NoneType",
    "images=[None]": "images: expected paths or arrays, got NoneType",
    "cams=3": "cams: expected a camera file or Camera objects, got int",
    "cams=[{}]": "cams: expected a camera file or Camera objects, got dict",
    "masks=3": "masks: expected a folder, or masks .* got int",
    "landmarks=3": "landmarks: expected a JSON file, or points .* got int",
    "max_size='640'": "max_size: expected a whole number of pixels, got str",
    "recipe={}": "recipe: expected a name, a YAML file or a Recipe, got dict",
    "start='out'": "start: expected a result, such as FitResult.load.folder., got str",
    "progress=True": "progress: expected a function that takes a Progress, got bool",
}

CODE = """
import json, sys, torch, hrnfit
said = {}
for case in json.loads(sys.argv[1]):
    arguments = dict(images=torch.full((64, 64, 3), 0.5)) | eval(f"dict({case})")
    try:
        hrnfit.fit(arguments.pop("images"), **arguments)
    except TypeError as error:
        said[case] = str(error)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    arguments = [sys.executable, "-c", CODE, json.dumps(list(CASES))]
    run = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


@pytest.mark.parametrize("case", CASES)
def test_the_argument_and_what_it_takes_are_named(said, case):
    assert re.fullmatch(CASES[case], said[case])
