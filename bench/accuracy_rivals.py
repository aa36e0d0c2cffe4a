"""Other people's quantisers, each with its own defaults: what bench/accuracy.py compares with."""

import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import nncf
import numpy as np
import numpy.typing as npt
import onnxruntime
import openvino
import ort_static
from accuracy_data import Ground
from onnxruntime.quantization import CalibrationMethod
from onnxruntime.quantization.shape_inference import quant_pre_process
from openvino.properties import hint

from tresnet_deploy import environment
from tresnet_deploy.backends._openvino_session import OpenVinoSession
from tresnet_deploy.contracts import Array, Batch

Predict = Callable[[Array], Array]
Rival = Callable[[Ground, Array], Predict]
MAX_DROP: Final = 0.002
"""What the accuracy control of NNCF may lose: the 0.2 points that are asked of ours."""
JUDGED: Final = 2_000  # held-out images: each step of the control runs them all
SEVEN_BITS: Final = ", 7-bit weights"
NNCF_FILE: Final = "nncf-0.xml"


def plain(ground: Ground) -> Path:
    """The network as others' tools want it: our functions inlined, shapes inferred."""
    target = ground.folder / "plain.onnx"
    if not target.is_file():
        inlined = ort_static.inlined(ground.artifact.path, ground.folder / "inlined.onnx")
        quant_pre_process(inlined, target, skip_symbolic_shape=True)
    return target


def onnxruntime_by(method: CalibrationMethod, *, reduce_range: bool) -> Rival:
    """ONNX Runtime's static quantisation: Q/DQ, a scale for each channel of the weights."""

    def made(ground: Ground, calibration: Array) -> Predict:
        target = ground.folder / f"ort-{method.name}.onnx"
        singles = (image[None] for image in calibration)
        name = ground.artifact.inputs[0].name
        ort_static.quantize(plain(ground), target, name, singles, method, reduce_range=reduce_range)
        return _onnxruntime(target)

    return made


def _onnxruntime(path: Path, *, pairs_in_float: bool = False) -> Predict:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", str(int(pairs_in_float)))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()

    def predict(images: Array) -> Array:
        return np.asarray(session.run(None, {given.name: images})[0])

    return predict


def model_optimizer(python: Path, method: str) -> Rival:
    """NVIDIA's Model Optimizer, in a venv of its own, as it pins onnx and onnxruntime-gpu.

    Its graphs are for GPUs, which do not overflow: where this processor does, they run in float.
    """

    def made(ground: Ground, calibration: Array) -> Predict:
        data, target = ground.folder / "modelopt.npy", ground.folder / f"modelopt-{method}.onnx"
        np.save(data, calibration)
        options = ("--quantize_mode=int8", "--high_precision_dtype=fp32", "--calibration_eps=cpu")
        command = [python, "-m", "modelopt.onnx.quantization", *options]
        command += [f"--onnx_path={plain(ground)}", f"--output_path={target}"]
        command += [f"--calibration_data_path={data}", f"--calibration_method={method}"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        if done.returncode or not target.is_file():
            raise RuntimeError((done.stderr or done.stdout).strip()[-300:])
        return _onnxruntime(target, pairs_in_float=environment.overflows_int8())

    return made


class OpenVino:
    """A model of OpenVINO: called, it gives scores; `session` is for timing."""

    def __init__(self, model: openvino.Model) -> None:
        self._model = model
        self._compiled = openvino.Core().compile_model(model, "CPU")

    def __call__(self, images: Array) -> Array:
        """Scores (N, C) of `images`, in whatever precision OpenVINO takes by itself."""
        return np.array(self._compiled(images)[0])

    def session(self, ground: Ground, images: Array) -> OpenVinoSession:
        """Compiled for the batch of `images` with the hints of our engines, and bound to them."""
        size = len(images)
        session = OpenVinoSession(
            self._model,
            inputs=ground.artifact.inputs,
            outputs=ground.artifact.outputs,
            properties={
                hint.performance_mode: hint.PerformanceMode.LATENCY,
                openvino.properties.inference_num_threads: 2,
            },
            batch=Batch(min=size, opt=size, max=size),
        )
        session.bind({ground.artifact.inputs[0].name: images})
        return session


def nncf_by(*, seven_bits: bool) -> Rival:
    """NNCF's post-training quantisation, performance preset."""

    def made(ground: Ground, calibration: Array) -> Predict:
        quantized = nncf.quantize(
            openvino.Core().read_model(plain(ground)),
            _dataset(calibration),
            preset=nncf.QuantizationPreset.PERFORMANCE,
            subset_size=len(calibration),
            advanced_parameters=_nncf_advanced(seven_bits=seven_bits),
        )
        timed = ground.folder / NNCF_FILE  # the first seed's default, beside ours
        if not seven_bits and not timed.is_file():
            openvino.save_model(quantized, timed, compress_to_fp16=False)
        return OpenVino(quantized)

    return made


def _nncf_advanced(*, seven_bits: bool) -> nncf.AdvancedQuantizationParameters:
    """Seven bits for all weights are what NNCF offers for processors without VNNI."""
    fix = nncf.OverflowFix.ENABLE if seven_bits else None
    return nncf.AdvancedQuantizationParameters(overflow_fix=fix)


def nncf_accuracy_control(ground: Ground, calibration: Array) -> Predict:
    """NNCF with accuracy control on held-out images and their labels.

    With seven bits where this processor overflows: with eight, it tries for hours.
    """
    images, labels = ground.judging(JUDGED)
    pairs = [(image[None], int(label)) for image, label in zip(images, labels, strict=True)]

    def accuracy(compiled: Any, judged: Iterable[tuple[Array, int]]) -> tuple[float, list[float]]:
        right = [float(compiled(image)[0].argmax() == label) for image, label in judged]
        return float(np.mean(right)), right

    quantized = nncf.quantize_with_accuracy_control(
        openvino.Core().read_model(plain(ground)),
        calibration_dataset=_dataset(calibration),
        validation_dataset=nncf.Dataset(pairs, lambda pair: pair[0]),
        validation_fn=accuracy,
        max_drop=MAX_DROP,
        preset=nncf.QuantizationPreset.PERFORMANCE,
        subset_size=len(calibration),
        advanced_quantization_parameters=_nncf_advanced(seven_bits=environment.overflows_int8()),
    )
    return OpenVino(quantized)


def _dataset(images: npt.NDArray[Any]) -> nncf.Dataset:
    return nncf.Dataset([image[None] for image in images])


def rivals(modelopt: Path | None, *, first: bool) -> dict[str, Rival]:
    """Everybody's quantiser by the name it has in the table.

    Where this processor's INT8 overflows, also with the remedy that each offers for that; there
    accuracy control takes half an hour, so it is here for the `first` draw of images alone.
    """
    overflows = environment.overflows_int8()
    found = _plain_rivals(seven_bits=False)
    if overflows:
        found |= _plain_rivals(seven_bits=True)
    if first or not overflows:
        found[f"NNCF, accuracy control{SEVEN_BITS if overflows else ''}"] = nncf_accuracy_control
    if modelopt:
        found["Model Optimizer, max"] = model_optimizer(modelopt, "max")
        found["Model Optimizer, entropy"] = model_optimizer(modelopt, "entropy")
    return found


def _plain_rivals(*, seven_bits: bool) -> dict[str, Rival]:
    """ONNX Runtime's and NNCF's quantisers, with weights of eight bits or of seven."""
    suffix = SEVEN_BITS if seven_bits else ""
    methods = {
        "min-max": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    found = {
        f"ONNX Runtime, {name}{suffix}": onnxruntime_by(method, reduce_range=seven_bits)
        for name, method in methods.items()
    }
    return {**found, f"NNCF{suffix}": nncf_by(seven_bits=seven_bits)}
