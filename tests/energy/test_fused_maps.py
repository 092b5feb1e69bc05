"""The map energies' kernels against the plain residuals: value and gradient, with holes in the chart."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
