"""The picture of a case: slices with the lung outline beside the heat map, as in Figure 5 of the paper.

Radiological orientation: the patient's right is on the left of every panel, the back is at the bottom.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from covid19net.pipeline import CaseResult
from covid19net.report.discharge import INTENDED_USE, summary
from covid19net.volume import Box, Finding

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

LUNG_WINDOW = (-1350.0, 150.0)  # HU shown as black and as white: width 1500, level -600
SLICES = 8
PAIRS_ACROSS = 2
PANEL_WIDTH = 400  # pixels
CELL_HEIGHT = 256  # pixels, of a picture in `slice_pairs`
MARGIN = 14
MARGIN_MM = 12.0  # of tissue shown around the lung box
INK, PAPER, FAINT = (235, 235, 235), (18, 20, 24), (150, 155, 165)
OUTLINE = (64, 224, 255)
BANNER = (150, 60, 0)
STRUCK = (255, 120, 40)
WARM = np.array(  # heat from 0 to 1; dark to bright, readable without colour vision too
    [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float32
)
STRONGEST_BLEND = 0.75  # share of heat colour over the CT where the map is at its largest
BANNERS = {  # findings no reader may miss
    "coverage",
    "map-unreliable",
    "missing-slices",
    "odd-slices",
    "orientation-unknown",
    "out-of-distribution",
    "prognosis-demonstration",
    "weights-demonstration",
}


@dataclass(frozen=True)
class Panel:
    """Size of a panel in pixels, the part of the CT it shows, and what its left and right are marked with."""

    box: Box
    width: int
    height: int
    sides: tuple[str, str]


def warm_colours(share: np.ndarray) -> np.ndarray:
    """Colours (..., 3), float32 in 0 to 255, of values in [0, 1]."""
    at = np.linspace(0, 1, len(WARM))
    return np.stack([np.interp(share, at, WARM[:, i]) for i in range(3)], -1).astype(np.float32)


def chosen_slices(heat: np.ndarray, box: Box, count: int = SLICES) -> list[int]:
    """Slices to show: evenly through the lung box, the one with the highest heat among them, head first.

    Args:
        heat: map on the CT's grid, (z, y, x).
        box: the lung box.
        count: how many, or fewer when the box has fewer.
    """
    low, high = box.start[0], box.stop[0] - 1
    inset = (high - low) * 0.08  # the very ends show almost no lung
    even = np.linspace(low + inset, high - inset, min(count, high - low + 1)).round().astype(int)
    chosen = sorted({int(z) for z in even})
    totals = heat[low : high + 1].sum(axis=(1, 2), dtype=np.int64)
    if totals.any():
        peak = low + int(totals.argmax())
        nearest = min(range(len(chosen)), key=lambda i: abs(chosen[i] - peak))
        chosen[nearest] = peak
    return sorted(set(chosen), reverse=True)


@cache
def _font(size: int) -> Any:  # noqa: ANN401
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _panel_of(result: CaseResult) -> Panel:
    spacing, shape = result.scan.volume.spacing, result.scan.volume.shape
    start, stop = list(result.box.start), list(result.box.stop)
    for axis in (1, 2):
        extra = int(MARGIN_MM / spacing[axis])
        start[axis] = max(0, start[axis] - extra)
        stop[axis] = min(shape[axis], stop[axis] + extra)
    box = Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
    height = round(PANEL_WIDTH * box.shape[1] * spacing[1] / (box.shape[2] * spacing[2]))
    return Panel(box, PANEL_WIDTH, height, ("R", "L") if result.sides_known else ("?", "?"))


def _resized(plane: np.ndarray, panel: Panel, *, smooth: bool) -> np.ndarray:
    from PIL import Image

    how = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(plane).resize((panel.width, panel.height), how))


def _panels(result: CaseResult, z: int, panel: Panel) -> tuple["Image.Image", "Image.Image"]:
    """The slice with the lung outline, and the slice with its heat."""
    from PIL import Image

    window = panel.box.slices[1:]
    low, high = LUNG_WINDOW
    grey = (np.clip(result.scan.volume.hu[z][window].astype(np.float32), low, high) - low) / (high - low)
    ct = np.repeat(_resized((grey * 255).astype(np.uint8), panel, smooth=True)[..., None], 3, -1)
    lung = _resized((result.lungs.values[z][window] > 0).astype(np.uint8), panel, smooth=False) > 0
    inner = lung.copy()
    for axis in (0, 1):
        for shift in (-1, 1):
            inner &= np.roll(lung, shift, axis)
    outlined = ct.copy()
    outlined[lung & ~inner] = OUTLINE
    heat = result.heatmap.values[z][window].astype(np.float32) / 100
    share = _resized(heat, panel, smooth=True)[..., None].clip(0, 1)
    blend = STRONGEST_BLEND * share  # faint heat stays faint: the box's edge must not look like a finding
    warmed = ct * (1 - blend) + warm_colours(share[..., 0]) * blend
    return Image.fromarray(outlined), Image.fromarray(warmed.clip(0, 255).astype(np.uint8))


def _mark(draw: "ImageDraw.ImageDraw", at: tuple[int, int], panel: Panel, caption: str) -> None:
    """Side markers and caption of the panel at a place."""
    x, y = at
    for side, left in zip(panel.sides, (x, x + panel.width - 24), strict=True):
        draw.rectangle((left, y, left + 24, y + 26), PAPER)
        draw.text((left + 12, y + 13), side, INK, _font(18), anchor="mm")
    if caption:  # on a strip of its own: tissue is nearly white in the lung window
        bottom = y + panel.height
        draw.rectangle((x, bottom - 20, x + _font(13).getlength(caption) + 12, bottom), PAPER)
        draw.text((x + 6, bottom - 4), caption, INK, _font(13), anchor="ld")


def _strike(draw: "ImageDraw.ImageDraw", at: tuple[int, int], panel: Panel) -> None:
    """Cross out the panel at a place; the banner says why."""
    inset = 30  # leaves the side markers free
    left, top = at[0] + inset, at[1] + inset
    right, bottom = at[0] + panel.width - inset, at[1] + panel.height - inset
    for line in ((left, top, right, bottom), (left, bottom, right, top)):
        draw.line(line, PAPER, 11)
        draw.line(line, STRUCK, 5)
    word = "map failed a check"
    half, middle = int(_font(17).getlength(word)) // 2 + 8, ((left + right) // 2, (top + bottom) // 2)
    draw.rectangle((middle[0] - half, middle[1] - 14, middle[0] + half, middle[1] + 14), BANNER)
    draw.text(middle, word, INK, _font(17), anchor="mm")


def _wrapped(text: str, width: int, size: int) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and _font(size).getlength(longer) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line]


def _header(result: CaseResult, width: int) -> list[tuple[str, int, tuple[int, int, int], bool]]:
    """Lines above the slices: text, size, colour, whether on a banner."""
    decision = result.decision
    right, left = (ml / 1000 for ml in result.lung_millilitres)
    sides = f"right {right:.2f} l, left {left:.2f} l" if result.sides_known else f"{right + left:.2f} l"
    lines = [
        (f"COVID-19 probability {result.probability:.3f}", 30, INK, False),
        (
            f"{decision.call} at threshold {decision.threshold:g} (COVID-19 against other pneumonia)",
            17,
            INK,
            False,
        ),
        (f"Lung volume: {sides}", 17, INK, False),
    ]
    if result.map_evidence:
        lines += [(text, 17, INK, False) for text in _wrapped(result.map_evidence.summary(), width, 17)]
    if result.prognosis:
        lines += [(text, 17, INK, False) for text in _wrapped(summary(result.prognosis), width, 17)]
    for finding in sorted(result.findings, key=_importance):
        shown = finding.code in BANNERS
        lines += [(t, 15, INK if shown else FAINT, shown) for t in _wrapped(_sentence(finding), width, 15)]
    return lines


def _importance(finding: Finding) -> bool:
    return finding.code not in BANNERS


def _sentence(finding: Finding) -> str:
    return f"{finding.code}: {finding.message}"


def _colour_bar(canvas: "Image.Image", at: tuple[int, int]) -> None:
    from PIL import Image, ImageDraw

    x, y = at
    ramp = warm_colours(np.linspace(0, 1, 160))[None].repeat(12, 0).astype(np.uint8)
    canvas.paste(Image.fromarray(ramp), (x, y))
    text = "suspicious area: 0 to 100 % of this scan's own largest value"
    ImageDraw.Draw(canvas).text((x + 170, y - 3), text, FAINT, _font(14))


def montage(result: CaseResult) -> "Image.Image":
    """Draw the case: header, warnings, then pairs of slices from head to feet.

    Args:
        result: from `analyze`.

    Returns:
        An RGB picture.
    """
    from PIL import Image, ImageDraw

    panel = _panel_of(result)
    slices = chosen_slices(result.heatmap.values, result.box)
    pair = 2 * panel.width + MARGIN // 2
    width = PAIRS_ACROSS * pair + (PAIRS_ACROSS + 1) * MARGIN
    header = _header(result, width - 2 * MARGIN)
    top = MARGIN + sum(int(size * 1.45) for _, size, _, _ in header) + MARGIN
    rows = -(-len(slices) // PAIRS_ACROSS)
    canvas = Image.new("RGB", (width, top + rows * (panel.height + MARGIN) + 64), PAPER)
    draw = ImageDraw.Draw(canvas)
    y = MARGIN
    for text, size, colour, banner in header:
        if banner:
            draw.rectangle((0, y - 2, width, y + int(size * 1.45) - 3), BANNER)
        draw.text((MARGIN, y), text, colour, _font(size))
        y += int(size * 1.45)
    failed = bool(result.map_evidence and result.map_evidence.failures)
    for i, z in enumerate(slices):
        row, column = divmod(i, PAIRS_ACROSS)
        x, y = MARGIN + column * (pair + MARGIN), top + row * (panel.height + MARGIN)
        _draw_pair(canvas, draw, (x, y), _panels(result, z, panel), _caption(result, z), panel)
        if failed:
            _strike(draw, (x + panel.width + MARGIN // 2, y), panel)
    y = canvas.height - 56
    _colour_bar(canvas, (MARGIN, y))
    draw.text((MARGIN, y + 24), _signature(result), FAINT, _font(14))
    return canvas


def slice_pairs(result: CaseResult, count: int = SLICES) -> "list[tuple[int, Image.Image]]":
    """Slices from head to feet, each with its picture: lung outline on the left, heat map on the right.

    All are of one size, whatever the shape of the chest. A map that failed a check is struck through.

    Args:
        result: from `analyze`.
        count: how many slices, or fewer when the lungs have fewer.
    """
    from PIL import Image, ImageDraw

    panel, pairs = _panel_of(result), []
    shrink = min(1.0, CELL_HEIGHT / panel.height)
    panel = replace(panel, width=round(panel.width * shrink), height=round(panel.height * shrink))
    across, down = (PANEL_WIDTH - panel.width) // 2, (CELL_HEIGHT - panel.height) // 2
    for z in chosen_slices(result.heatmap.values, result.box, count):
        picture = Image.new("RGB", (2 * PANEL_WIDTH + MARGIN // 2, CELL_HEIGHT), PAPER)
        draw = ImageDraw.Draw(picture)
        for place, half in zip((0, PANEL_WIDTH + MARGIN // 2), _panels(result, z, panel), strict=True):
            picture.paste(half, (place + across, down))
            _mark(draw, (place + across, down), panel, "")
        if result.map_evidence and result.map_evidence.failures:
            _strike(draw, (place + across, down), panel)
        pairs.append((z, picture))
    return pairs


def _caption(result: CaseResult, z: int) -> str:
    height = float((result.scan.volume.affine @ [z, 0, 0, 1])[2])
    return f"slice {z + 1} of {result.scan.volume.shape[0]} from the feet, z {height:.0f} mm"


def _signature(result: CaseResult) -> str:
    weights = result.provenance["weights"]
    assert isinstance(weights, dict)
    names = ", ".join(f"{weights[k]['name']} {weights[k]['sha256'][:8]}" for k in ("lungs", "diagnosis"))
    return f"{INTENDED_USE} covid19net {result.provenance['version']}; weights {names}"


def _draw_pair(
    canvas: "Image.Image",
    draw: "ImageDraw.ImageDraw",
    at: tuple[int, int],
    pictures: Sequence["Image.Image"],
    caption: str,
    panel: Panel,
) -> None:
    x, y = at
    for picture, text in zip(pictures, (caption, ""), strict=True):
        canvas.paste(picture, (x, y))
        _mark(draw, (x, y), panel, text)
        x += panel.width + MARGIN // 2
