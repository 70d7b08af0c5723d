"""A trained network as one small ONNX file, and back.

The graph takes and returns uint8 (N, H, W, 3) RGB, with dynamic N, H and W; H and W are divisible by `vidstyle.multiple`. It
is built from a torch.fx trace rather than by torch's exporter, for two reasons. Initializers have the names of the state dict,
so that the trainable weights can be loaded from the file; and what ONNX Runtime folds when it loads a model stays separate in
the file: half-precision weights (half the size), colour scales, norms as BatchNormalization over tracked statistics. At run
time nothing but convolutions, sums and nearest-neighbour upsampling is left, all in the fast blocked layout.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import fx, nn

from vidstyle.core.errors import StyleError
from vidstyle.core.files import replaced
from vidstyle.core.model_file import read_model
from vidstyle.core.model_metadata import PREFIX, metadata_of
from vidstyle.networks.transformer_net import ARCHITECTURES, MARGIN, MULTIPLE

OPSET = 17
IR_VERSION = 8
FORMAT = "1"


def export_onnx(net: nn.Module, architecture: str, path: Path, facts: Mapping[str, str]) -> None:
    """Write `net` to `path`, whole or not at all. `facts` go into the metadata, each key prefixed with `vidstyle.`."""
    model = _Graph(net).model()
    facts = {"format": FORMAT, "architecture": architecture, "margin": str(MARGIN), "multiple": str(MULTIPLE), **facts}
    helper.set_model_props(model, {f"{PREFIX}{key}": value for key, value in facts.items()})
    onnx.checker.check_model(model)
    with replaced(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def load_net(path: Path) -> tuple[nn.Module, dict[str, str]]:
    """The trainable network that `export_onnx` wrote to `path`, and its metadata; raises `StyleError` for other files."""
    return net_of(read_model(path), path)


def net_of(model: onnx.ModelProto, path: Path) -> tuple[nn.Module, dict[str, str]]:
    """Like `load_net`, for a model that was read from `path`."""
    facts = metadata_of(model)
    make = ARCHITECTURES.get(facts.get("architecture", ""))
    if make is None:
        raise StyleError(f"expected a style that vidstyle trained, found no known architecture in {path}")
    net = make()
    tensors = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    state = dict(net.state_dict())
    missing = [k for k in state if k not in tensors and not k.endswith("num_batches_tracked")]
    if missing:
        raise StyleError(f"expected the weights of a {facts['architecture']} network, {missing[0]} is missing in {path}")
    try:
        net.load_state_dict({k: torch.from_numpy(tensors[k].astype(np.float32)) if k in tensors else v for k, v in state.items()})
    except RuntimeError as error:  # of other sizes
        raise StyleError(f"expected the weights of a {facts['architecture']} network, found others in {path}") from error
    return net, facts


class _Graph:
    """Builds the ONNX graph node by node; every method returns the name of the tensor that it adds."""

    def __init__(self, net: nn.Module) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.modules = dict(net.named_modules())
        convs = [name for name, module in self.modules.items() if isinstance(module, nn.Conv2d)]
        self.first_conv, self.last_conv = convs[0], convs[-1]
        self._trace(fx.symbolic_trace(net))

    def model(self) -> onnx.ModelProto:
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "vidstyle",
            [value("image", TensorProto.UINT8, ["n", "h", "w", 3])],
            [value("stylized", TensorProto.UINT8, ["n", "h", "w", 3])],
            self.initializers,
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="vidstyle"
        )

    def _trace(self, traced: fx.GraphModule) -> None:
        names: dict[fx.Node, str] = {}
        for node in traced.graph.nodes:
            inputs = [names[n] for n in node.all_input_nodes]
            if node.op == "placeholder":
                names[node] = self._op("Cast", self._op("Transpose", "image", perm=[0, 3, 1, 2]), to=TensorProto.FLOAT)
            elif node.op == "call_module":
                names[node] = self._module(str(node.target), inputs[0])
            elif node.op == "call_function" and node.target is operator.add:
                names[node] = self._op("Add", *inputs)
            elif node.op == "output":
                self._op("Transpose", inputs[0], output="stylized", perm=[0, 2, 3, 1])
            else:
                raise TypeError(f"no ONNX counterpart for {node.op} {node.target}")

    def _module(self, name: str, x: str) -> str:
        module = self.modules[name]
        if isinstance(module, nn.Conv2d):
            return self._conv(name, module, x)
        if isinstance(module, nn.InstanceNorm2d):
            parts = [
                self._constant(f"{name}.{part}", getattr(module, part).detach().numpy().astype(np.float32))
                for part in ("weight", "bias", "running_mean", "running_var")
            ]
            return self._op("BatchNormalization", x, *parts, epsilon=module.eps)
        if isinstance(module, nn.ReLU):
            return self._op("Relu", x)
        if isinstance(module, nn.Upsample):
            scales = self._constant(f"{name}.scales", np.array([1, 1, 2, 2], np.float32))
            how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            return self._op("Resize", x, "", scales, **how)
        if isinstance(module, nn.PixelShuffle):
            return self._op("DepthToSpace", x, blocksize=module.upscale_factor, mode="CRD")
        raise TypeError(f"no ONNX counterpart for {type(module).__name__}")

    def _conv(self, name: str, conv: nn.Conv2d, x: str) -> str:
        weight = self._op("Cast", self._constant(f"{name}.weight", conv.weight.detach().half().numpy()), to=TensorProto.FLOAT)
        if name == self.first_conv:  # 0..255 in the graph, [0, 1] in the network
            weight = self._op("Mul", weight, self._constant("in_scale", np.array(1 / 255, np.float32)))
        parameters = [weight]
        if conv.bias is not None:
            parameters.append(self._constant(f"{name}.bias", conv.bias.detach().numpy().astype(np.float32)))
        if name == self.last_conv:
            scale = self._constant("out_scale", np.array(255, np.float32))
            half = self._constant("rounding", np.array(0.5, np.float32))  # Cast to uint8 truncates
            parameters = [self._op("Mul", p, scale) for p in parameters]
            parameters[1] = self._op("Add", parameters[1], half)
        shape: dict[str, Any] = {"kernel_shape": conv.kernel_size, "strides": conv.stride, "pads": list(conv.padding) * 2}
        x = self._op("Conv", x, *parameters, **shape)
        if name == self.last_conv:  # bytes from here on: pixel shuffle and transposition then move a quarter of the memory
            low, high = self._constant("low", np.array(0, np.float32)), self._constant("high", np.array(255, np.float32))
            x = self._op("Cast", self._op("Clip", x, low, high), to=TensorProto.UINT8)
        return x

    def _constant(self, name: str, array: np.ndarray) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def _op(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output
