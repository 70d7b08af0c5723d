"""How fast conversions are here: decode, net and encode, each alone and all together, against decode and encode alone.

`measure.py` runs it all, `vidstyle bench` and `tools/bench/speed.py` call that; `stages.py` has what is measured and how.
"""
