"""ONNX files, read safely: a model computes an image from an image, and whatever else the format allows is refused.

The format can name other files (external data, also in sparse tensors, functions, subgraphs and training information), loop
forever, and call code that is not part of ONNX. So this is a list of what is allowed, and engines only see models that were read
here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, numpy_helper

from vidstyle.core.errors import StyleError
from vidstyle.core.files import reason

MAX_MODEL_BYTES = 512 << 20

_OPERATORS = frozenset(
    name
    for names in (
        # arithmetic, element by element
        "Abs Acos Acosh Add Affine And Asin Asinh Atan Atanh BitShift Cast CastLike Ceil Clip Cos Cosh CumSum Div Equal Erf Exp",
        "Floor Greater GreaterOrEqual Identity IsInf IsNaN Less LessOrEqual Log Max Mean Min Mod Mul Neg Not Or Pow Reciprocal",
        "Round Sign Sin Sinh Sqrt Sub Sum Tan Where Xor",
        # activations
        "Celu Dropout Elu Gelu HardSigmoid HardSwish Hardmax LeakyRelu LogSoftmax Mish PRelu ParametricSoftplus Relu ScaledTanh",
        "Selu Shrink Sigmoid Softmax Softplus Softsign Swish Tanh ThresholdedRelu",
        # convolutions, matrices, pooling
        "AveragePool Conv ConvInteger ConvTranspose DeformConv Einsum Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool",
        "MatMul MatMulInteger MaxPool MaxUnpool QLinearConv QLinearMatMul",
        # normalization, statistics
        "ArgMax ArgMin BatchNormalization GroupNormalization ImageScaler InstanceNormalization LRN LayerNormalization",
        "LpNormalization MeanVarianceNormalization RMSNormalization ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax",
        "ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare TopK",
        # sizes, shapes, indices
        "AffineGrid CenterCropPad Col2Im Compress Concat Constant ConstantOfShape Crop DepthToSpace Expand EyeLike Flatten",
        "Gather GatherElements GatherND GridSample OneHot Pad Range Reshape Resize ScatterElements ScatterND Shape Size Slice",
        "SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze Upsample",
        # quantization
        "DequantizeLinear DynamicQuantizeLinear QuantizeLinear",
    )
    for name in names.split()
)
"""What style networks are made of, ours and those of other tools, in all versions of ONNX: nothing that loops or branches."""

_TENSOR_TYPES = {
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE, TensorProto.BOOL,
    TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64,
    TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64,
}  # fmt: skip

_DESCRIPTION = {"name", "doc_string", "metadata_props"}
_FIELDS: dict[str, set[str]] = {
    "ModelProto": {"ir_version", "opset_import", "producer_name", "producer_version", "domain", "model_version", "graph"},
    "GraphProto": {"node", "initializer", "input", "output", "value_info", "quantization_annotation"},
    "NodeProto": {"input", "output", "op_type", "domain", "attribute"},
    "AttributeProto": {"type", "f", "i", "s", "t", "floats", "ints", "strings"},
    "TensorProto": {"dims", "data_type", "raw_data", "float_data", "double_data", "int32_data", "int64_data", "uint64_data",
                    "data_location"},
    "ValueInfoProto": {"type"},
    "TypeProto": {"tensor_type", "denotation"},
    "Tensor": {"elem_type", "shape"},
    "TensorShapeProto": {"dim"},
    "Dimension": {"dim_value", "dim_param", "denotation"},
    "OperatorSetIdProto": {"domain", "version"},
    "StringStringEntryProto": {"key", "value"},
    "TensorAnnotation": {"tensor_name", "quant_parameter_tensor_names"},
}  # fmt: skip
"""The fields of each message that may be set, besides those of `_DESCRIPTION`. Most of those missing can hold external data."""


def read_model(path: Path) -> onnx.ModelProto:
    """The model in the file `path`: one image in, standard operators, all data in that one file. Raises `StyleError`."""
    data, model = _read(path), onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # protobuf raises several kinds
        raise StyleError(f"could not read {path} as an ONNX model") from error
    if not model.graph.node:
        raise StyleError(f"expected an ONNX model, found no graph in {path}")
    model.DiscardUnknownFields()  # an engine that knows more fields must not see them
    _check_operators(model.graph, path)
    _check_fields(model, path)
    _check_values(model.graph, path)
    return model


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_MODEL_BYTES:
            raise StyleError(f"expected a style model of at most {MAX_MODEL_BYTES >> 20} MiB, got {size >> 20}: {path}")
        return path.read_bytes()
    except OSError as error:
        raise StyleError(f"could not read the style model {path} ({reason(error)})") from error


def _check_operators(graph: onnx.GraphProto, path: Path) -> None:
    for node in graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise StyleError(f"expected standard ONNX operators only, found the domain {node.domain!r}: {path}")
        if node.op_type not in _OPERATORS:
            raise StyleError(f"expected operators that style networks use, found {node.op_type!r}: {path}")


def _check_fields(message: Any, path: Path) -> None:
    """Refuse fields that are not allowed, in `message` and all messages inside it."""
    allowed = _FIELDS.get(message.DESCRIPTOR.name, set()) | _DESCRIPTION
    for field, value in message.ListFields():
        if field.name == "external_data" or (field.name == "data_location" and value != TensorProto.DEFAULT):
            raise StyleError(f"expected a model in a single file, but this one refers to others: {path}")
        if field.name not in allowed:
            raise StyleError(f"expected a model that is a plain network, found its {field.name.replace('_', ' ')}: {path}")
        if field.message_type is not None:
            for inner in [value] if hasattr(value, "ListFields") else value:
                _check_fields(inner, path)


def _check_values(graph: onnx.GraphProto, path: Path) -> None:
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or not graph.output:
        raise StyleError(
            f"expected a model with one input and at least one output, got {len(inputs)} and {len(graph.output)}: {path}"
        )
    attributes = [attribute.t for node in graph.node for attribute in node.attribute if attribute.HasField("t")]
    for tensor in [*graph.initializer, *attributes]:
        _check_tensor(tensor, path)


def _check_tensor(tensor: TensorProto, path: Path) -> None:
    """Refuse values of a kind that networks do not compute with, and fewer or more values than the dimensions claim."""
    if tensor.data_type not in _TENSOR_TYPES:
        raise StyleError(f"expected numbers in the model, found a tensor of another type, {tensor.name!r}: {path}")
    try:
        fits = numpy_helper.to_array(tensor).shape == tuple(tensor.dims)
    except Exception:  # onnx and numpy raise several kinds
        fits = False
    if not fits:
        raise StyleError(f"expected {list(tensor.dims)} numbers in the tensor {tensor.name!r}, found others: {path}")


def has_fixed_size(model: onnx.ModelProto) -> bool:
    """Whether a model takes batches of images of one shape only."""
    shapes = [i.type.tensor_type.shape.dim for i in model.graph.input]
    return all(len(dims) == 4 and all(d.dim_value for d in dims) for dims in shapes)
