"""Synthetic subjects with known truth, for the demo, the tests and the benchmarks."""

from hrnfit.synthetic.rig import SyntheticRig as SyntheticRig
from hrnfit.synthetic.rig import synthetic_rig as synthetic_rig
from hrnfit.synthetic.subject import Subject as Subject
from hrnfit.synthetic.subject import Truth as Truth
