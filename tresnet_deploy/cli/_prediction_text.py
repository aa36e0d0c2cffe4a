"""Predictions for people."""

from __future__ import annotations

from tresnet_deploy.cli._tables import percent
from tresnet_deploy.results import Prediction, PredictionReport


def text(report: PredictionReport) -> str:
    """Return each image with its classes below; one line an image where one class is named."""
    if all(len(prediction.classes) == 1 for prediction in report.predictions):
        width = max(len(prediction.image) for prediction in report.predictions)
        return "\n".join(
            f"{prediction.image:<{width}}  {_classes(prediction)[0]}"
            for prediction in report.predictions
        )
    return "\n\n".join(
        "\n".join((prediction.image, *(f"  {line}" for line in _classes(prediction))))
        for prediction in report.predictions
    )


def _classes(prediction: Prediction) -> list[str]:
    if not prediction.classes:
        return ["no class is likely enough"]
    return [f"{percent(found.probability):>7}  {found.name}" for found in prediction.classes]
