"""Speed of conversions on this machine: decoding, network and encoding, each alone and all together.

`measure.py` runs all measurements for `vidstyle bench` and `tools/bench/speed.py`; `stages.py` defines what is measured and how.
"""
