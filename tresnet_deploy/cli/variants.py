"""List the TResNets that have a name, and their published weights."""

from __future__ import annotations

import click

from tresnet_deploy.cli._options import emit, output_format, talkative

_MILLION = 1e6


@click.command("variants")
@output_format
@talkative
def command(*, output_format: str, quiet: bool) -> None:
    """List the TResNets that have a name, and their published weights.

    Parameters and multiply-adds are for 1000 classes at 224 px; top-1 is ImageNet accuracy as timm
    measured it, "-" where nobody published one. The first weights of a variant are its default.
    A name with _xFACTOR, such as m_x0.25, is the variant with that many times the width.
    """
    from tresnet_deploy.artifacts import to_json
    from tresnet_deploy.cli._tables import table
    from tresnet_deploy.inspection.catalogue import catalogue

    listed = catalogue()
    if output_format == "json":
        emit(to_json(listed))
        return
    variants = table(
        ("variant", "blocks", "width", "million parameters", "GMACs", "what it is"),
        [
            (
                row.name,
                "-".join(str(depth) for depth in row.depths),
                str(row.width),
                f"{row.params / _MILLION:.1f}",
                f"{row.gmacs:.1f}",
                row.description,
            )
            for row in listed.variants
        ],
    )
    weights = table(
        ("variant", "--weights", "top-1 %", "image px", "resize", "classes"),
        [
            (
                row.name,
                each.tag,
                "-" if each.top1 is None else f"{each.top1:.1f}",
                str(each.input.image_px),
                each.input.resize,
                str(each.classes),
            )
            for row in listed.variants
            for each in row.weights
        ],
    )
    emit(f"{variants}\n\nPublished weights\n\n{weights}\n")
