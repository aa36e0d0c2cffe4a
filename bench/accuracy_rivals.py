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

from tresnet_deploy.backends._openvino_session import OpenVinoSession
from tresnet_deploy.contracts import Array, Batch

Predict = Callable[[Array], Array]
Rival = Callable[[Ground, Array], Predict]
MAX_DROP: Final = 0.002
"""What the accuracy control of NNCF may lose: the 0.2 points that are asked of ours."""
JUDGED: Final = 2_000  # held-out images: each step of the control runs them all
NNCF_DEFAULT: Final = "NNCF"
NNCF_FILE: Final = "nncf-0.xml"


def plain(ground: Ground) -> Path:
    """The network as others' tools want it: our functions inlined, shapes inferred."""
    target = ground.folder / "plain.onnx"
    if not target.is_file():
        inlined = ort_static.inlined(ground.artifact.path, ground.folder / "inlined.onnx")
        quant_pre_process(inlined, target, skip_symbolic_shape=True)
    return target


def onnxruntime_by(method: CalibrationMethod) -> Rival:
    """ONNX Runtime's static quantisation: Q/DQ, a scale for each channel of the weights."""

    def made(ground: Ground, calibration: Array) -> Predict:
        target = ground.folder / f"ort-{method.name}.onnx"
        singles = (image[None] for image in calibration)
        ort_static.quantize(plain(ground), target, ground.artifact.inputs[0].name, singles, method)
        return _onnxruntime(target)

    return made


def _onnxruntime(path: Path) -> Predict:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()

    def predict(images: Array) -> Array:
        return np.asarray(session.run(None, {given.name: images})[0])

    return predict


def model_optimizer(python: Path, method: str) -> Rival:
    """NVIDIA's Model Optimizer, in a venv of its own, as it pins onnx and onnxruntime-gpu."""

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
        return _onnxruntime(target)

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


def nncf_default(ground: Ground, calibration: Array) -> Predict:
    """NNCF's post-training quantisation, performance preset."""
    quantized = nncf.quantize(
        openvino.Core().read_model(plain(ground)),
        _dataset(calibration),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        subset_size=len(calibration),
    )
    if not (ground.folder / NNCF_FILE).is_file():  # the first seed's is timed beside ours
        openvino.save_model(quantized, ground.folder / NNCF_FILE, compress_to_fp16=False)
    return OpenVino(quantized)


def nncf_accuracy_control(ground: Ground, calibration: Array) -> Predict:
    """NNCF with accuracy control on held-out images and their labels."""
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
    )
    return OpenVino(quantized)


def _dataset(images: npt.NDArray[Any]) -> nncf.Dataset:
    return nncf.Dataset([image[None] for image in images])


def rivals(modelopt: Path | None) -> dict[str, Rival]:
    """Everybody's quantiser by the name it has in the table."""
    found: dict[str, Rival] = {
        "ONNX Runtime, min-max": onnxruntime_by(CalibrationMethod.MinMax),
        "ONNX Runtime, entropy": onnxruntime_by(CalibrationMethod.Entropy),
        "ONNX Runtime, percentile": onnxruntime_by(CalibrationMethod.Percentile),
        NNCF_DEFAULT: nncf_default,
        "NNCF, accuracy control": nncf_accuracy_control,
    }
    if modelopt:
        found["Model Optimizer, max"] = model_optimizer(modelopt, "max")
        found["Model Optimizer, entropy"] = model_optimizer(modelopt, "entropy")
    return found
