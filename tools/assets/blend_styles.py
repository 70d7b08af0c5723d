"""Interpolates the weights of two styles with a common ancestor (Deep Network Interpolation, Wang et al. 2019).

python -m tools.assets.blend_styles FIRST.onnx SECOND.onnx --weight 0.4 --output BLEND.onnx

`--weight` is that of the second style (formerly `--share`). Norm statistics are interpolated too; at run time those of the shot
replace them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vidstyle.networks.export import export_onnx, load_net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--weight", "--share", dest="weight", type=float, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    (net, _), (other, facts) = load_net(args.first), load_net(args.second)
    second = other.state_dict()
    net.load_state_dict({k: v.lerp(second[k], args.weight) if v.is_floating_point() else v for k, v in net.state_dict().items()})
    metadata = {k: v for k, v in facts.items() if k not in ("format", "architecture", "margin", "multiple")}
    export_onnx(net.eval(), facts["architecture"], args.output, metadata)


if __name__ == "__main__":
    main()
