"""The graphs of an ONNX export: a traced step, its weights in fewer bits, and the chain that repeats it.

The chain is an ONNX Loop whose body is the step::

    for i in 0..T-1:   t = T - i,   x = step(x, t, z[:, i], noise[:, i], y)

The step is traced once, and opening the chain takes as long as opening one step, where T copies of the step
would be optimised, and their weights rearranged, T times. Weights are inputs of the body, so step and chain
can read them from one file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ddgan.export.rounding import Stored

__all__ = ["StepModel", "save_weights"]

FLOAT, INT64, BOOL = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.BOOL
SMALLEST_OUTSIDE = 1024
"""Tensors of fewer bytes stay in the graphs, where shapes are read from some of them."""
CHAIN = "chain."
"""Prefix of the names of values of the loop."""
ALIGNMENT = 64
"""Tensors in the weights file begin at multiples of this many bytes."""


class StepModel:
    """The traced graph of one step, as parts that the files of an export are made of.

    Args:
        traced: the model that the exporter made. Its weights are inputs of the graph's nodes by name.
        stored: how weights are stored, by their names in the graph; others stay as they are.
        metadata: text by name, for all files.
    """

    def __init__(
        self, traced: onnx.ModelProto, stored: Mapping[str, Stored], metadata: Mapping[str, str]
    ) -> None:
        self._model = traced
        for node in traced.graph.node:  # where in the code the exporter found them
            del node.metadata_props[:]
            node.doc_string = ""
        del traced.graph.value_info[:]
        self.weights, self._unpacking = _packed(traced.graph.initializer, stored)
        self._metadata = metadata

    def step(self) -> onnx.ModelProto:
        """Return the model of one step."""
        graph = self._model.graph
        return self._completed([*self._unpacking, *graph.node], graph.input, graph.output)

    def chain(self, num_steps: int) -> onnx.ModelProto:
        """Return the model of all T steps."""
        step, inputs = self._model.graph, {value.name: value for value in self._model.graph.input}
        x_t, (x_prev, *_) = inputs["x_t"], step.output
        # A dot keeps these names apart from those that the exporter gives.
        index, count, going = f"{CHAIN}index", f"{CHAIN}num_steps", f"{CHAIN}going"
        nodes = [
            helper.make_node("Sub", [count, index], [f"{CHAIN}step"]),
            helper.make_node("Shape", ["x_t"], [f"{CHAIN}batch"], start=0, end=1),
            helper.make_node("Expand", [f"{CHAIN}step", f"{CHAIN}batch"], ["t"]),
            helper.make_node("Identity", [going], [f"{going}_on"]),
        ]
        drawn = {name: f"{CHAIN}{name}" for name in ("z", "noise") if name in inputs}
        for name, own in drawn.items():
            nodes.append(helper.make_node("Gather", [name, index], [own], axis=1))
        nodes += [_renamed(node, drawn) for node in step.node]
        body = helper.make_graph(
            nodes,
            "step",
            [
                helper.make_tensor_value_info(index, INT64, []),
                helper.make_tensor_value_info(going, BOOL, []),
                x_t,
            ],
            [helper.make_tensor_value_info(f"{going}_on", BOOL, []), x_prev],
        )
        loop = helper.make_node("Loop", [count, "", "x_T"], ["x_0"], body=body)
        outside = [_value("x_T", _sizes(x_t))]
        for name in drawn:
            batch, *rest = _sizes(inputs[name])
            outside.append(_value(name, [batch, num_steps, *rest]))
        outside += [inputs[name] for name in ("y",) if name in inputs]
        steps = numpy_helper.from_array(np.array(num_steps, dtype=np.int64), count)
        return self._completed([*self._unpacking, loop], outside, [_value("x_0", _sizes(x_t))], [steps])

    def _completed(
        self,
        nodes: Sequence[onnx.NodeProto],
        inputs: Iterable[onnx.ValueInfoProto],
        outputs: Iterable[onnx.ValueInfoProto],
        more: Sequence[onnx.TensorProto] = (),
    ) -> onnx.ModelProto:
        graph = helper.make_graph(nodes, "ddgan", list(inputs), list(outputs), [*self.weights, *more])
        model = helper.make_model(
            graph,
            opset_imports=self._model.opset_import,
            ir_version=self._model.ir_version,
            functions=self._model.functions,
            producer_name="ddgan",
        )
        helper.set_model_props(model, dict(self._metadata))
        return model


def _packed(
    weights: Iterable[onnx.TensorProto], stored: Mapping[str, Stored]
) -> tuple[list[onnx.TensorProto], list[onnx.NodeProto]]:
    """Return the tensors to store, and the nodes that compute the weights from them.

    onnxruntime computes what depends only on weights once, when it opens a file.
    """
    tensors, nodes = list[onnx.TensorProto](), list[onnx.NodeProto]()
    for tensor in weights:
        name, short = tensor.name, stored.get(tensor.name)
        if short is None:
            tensors.append(tensor)
            continue
        tensors.append(numpy_helper.from_array(short.numbers.numpy(), f"{name}.stored"))
        if short.scale is None:
            nodes.append(helper.make_node("Cast", [f"{name}.stored"], [name], to=FLOAT))
        else:
            tensors.append(numpy_helper.from_array(short.scale.numpy(), f"{name}.scale"))
            nodes.append(helper.make_node("Cast", [f"{name}.stored"], [f"{name}.unscaled"], to=FLOAT))
            nodes.append(helper.make_node("Mul", [f"{name}.unscaled", f"{name}.scale"], [name]))
    return tensors, nodes


def save_weights(tensors: Iterable[onnx.TensorProto], path: Path) -> None:
    """Move the content of large tensors to the file `path`, beside the models that refer to it."""
    with path.open("wb") as file:
        for tensor in tensors:
            content = tensor.raw_data
            if len(content) < SMALLEST_OUTSIDE:
                continue
            file.write(b"\0" * (-file.tell() % ALIGNMENT))
            onnx.external_data_helper.set_external_data(
                tensor, location=path.name, offset=file.tell(), length=len(content)
            )
            file.write(content)
            tensor.ClearField("raw_data")


def _renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """Return a node whose inputs have other names, also in the graphs inside it."""
    other = onnx.NodeProto()
    other.CopyFrom(node)
    _rename(other, names)
    return other


def _rename(node: Any, names: Mapping[str, str]) -> None:
    node.input[:] = [names.get(name, name) for name in node.input]
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                _rename(inner, names)
            for output in graph.output:
                output.name = names.get(output.name, output.name)


def _sizes(value: onnx.ValueInfoProto) -> list[int | str]:
    return [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]


def _value(name: str, sizes: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, FLOAT, sizes)
