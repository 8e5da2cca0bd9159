"""The contact sheet: photos with their windows, and some of the tiles."""

from dataclasses import dataclass

from common.files import check_replaces

PICTURE, TILE, GAP, MARGIN = 440, 112, 12, 24  # pixels
SAMPLES = 6  # tiles shown of each scale
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]  # of Okabe and Ito
INK, FAINT, PAPER = "#1a1a1a", "#6b6b6b", "#ffffff"


@dataclass
class Panel:
    """One photo of the sheet.

    picture: (H, W, 3) uint8 BGR.  boxes: [(scale, left, top, right, bottom)] as fractions of the picture.
    tiles: [(index into boxes, (h, w, 3) uint8 BGR)], some tiles of each scale.  captions: {scale: text}.
    """

    title: str
    about: str
    picture: object
    boxes: list
    tiles: list
    captions: dict


def check_output(output):
    """Raise InputError for an --output that is not a PNG and is there."""
    check_replaces(output, b"\x89PNG\r\n\x1a\n", "PNG picture", f"--output {output}")


def choose_samples(scales):
    """Return indices of at most SAMPLES entries of each scale, evenly spaced. scales: the scale of each entry."""
    chosen = []
    for scale in sorted(set(scales)):
        places = [index for index, value in enumerate(scales) if value == scale]
        count = min(SAMPLES, len(places))
        chosen += [places[(2 * number + 1) * len(places) // (2 * count)] for number in range(count)]
    return chosen


def draw_sheet(panels):
    """Return the sheet as a Pillow image: a row for each panel."""
    from PIL import Image

    rows = [_draw_panel(panel) for panel in panels]
    width = max(row.width for row in rows) + 2 * MARGIN
    height = sum(row.height for row in rows) + GAP * 2 * (len(rows) - 1) + 2 * MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    top = MARGIN
    for row in rows:
        sheet.paste(row, (MARGIN, top))
        top += row.height + 2 * GAP
    return sheet


def _font(size):
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _draw_panel(panel):
    from PIL import Image, ImageDraw

    scales = sorted({box[0] for box in panel.boxes})
    picture = _picture(panel)
    strips = len(scales) * (TILE + 46)
    width = PICTURE + 2 * GAP + SAMPLES * (TILE + GAP)
    row = Image.new("RGB", (width, 50 + max(picture.height, strips)), PAPER)
    draw = ImageDraw.Draw(row)
    draw.text((0, 0), _short(panel.title, 70), fill=INK, font=_font(18))
    draw.text((0, 24), _short(panel.about, 120), fill=FAINT, font=_font(13))
    row.paste(picture, (0, 50))
    for position, scale in enumerate(scales):
        _draw_strip(row, draw, panel, scale, PICTURE + 2 * GAP, 50 + position * (TILE + 46))
    return row


def _short(text, limit):
    return text if len(text) <= limit else f"{text[: limit // 2 - 1]}…{text[-(limit // 2) :]}"


def _numbers(panel):
    """Return {index of a box: number shown}."""
    return {index: number for number, (index, _) in enumerate(panel.tiles, 1)}


def _picture(panel):
    """Return the photo with all windows in thin lines, and those of the shown tiles thick and numbered."""
    from PIL import Image, ImageDraw

    height, width = panel.picture.shape[:2]
    scale = PICTURE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    photo = Image.fromarray(panel.picture[..., ::-1].copy()).resize(size, Image.Resampling.LANCZOS)
    lines = Image.new("RGBA", photo.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(lines)
    shown = _numbers(panel)
    for index, box in enumerate(panel.boxes):
        if index not in shown:
            draw.rectangle(_pixels(box, photo.size), outline=f"{_colour(box[0])}70")
    by_size = sorted(shown, key=lambda index: panel.boxes[index][1] - panel.boxes[index][3])  # largest at the bottom
    for index in by_size:
        draw.rectangle(_pixels(panel.boxes[index], photo.size), outline=_colour(panel.boxes[index][0]), width=3)
    offsets = {}  # windows with the same corner get their numbers side by side
    for index in by_size:
        left, top, _, _ = _pixels(panel.boxes[index], photo.size)
        shift = offsets.get((left, top), 0)
        offsets[(left, top)] = shift + _badge(draw, left + shift, top, shown[index], _colour(panel.boxes[index][0]))
    return Image.alpha_composite(photo.convert("RGBA"), lines).convert("RGB")


def _pixels(box, size):
    _, left, top, right, bottom = box
    return [round(left * (size[0] - 1)), round(top * (size[1] - 1)), round(right * (size[0] - 1)),
            round(bottom * (size[1] - 1))]


def _colour(scale):
    return COLOURS[scale % len(COLOURS)]


def _badge(draw, left, top, number, colour):
    """Draw a white number on a coloured badge and return the badge's width."""
    font = _font(13)
    wide = draw.textlength(str(number), font=font)
    draw.rectangle([left, top, left + wide + 8, top + 18], fill=colour)
    draw.text((left + 4, top + 1), str(number), fill="#ffffff", font=font)
    return round(wide) + 8


def _draw_strip(row, draw, panel, scale, left, top):
    """Draw the tiles of one scale below their caption."""
    from PIL import Image

    draw.rectangle([left, top + 3, left + 12, top + 15], fill=_colour(scale))
    draw.text((left + 20, top), panel.captions.get(scale, ""), fill=INK, font=_font(14))
    numbers, place = _numbers(panel), left
    for index, tile in panel.tiles:
        if panel.boxes[index][0] != scale:
            continue
        image = Image.fromarray(tile[..., ::-1].copy())
        shrink = TILE / max(image.size)
        image = image.resize((max(1, round(image.width * shrink)), max(1, round(image.height * shrink))),
                             Image.Resampling.LANCZOS)
        row.paste(image, (place, top + 24))
        _badge(draw, place, top + 24, numbers[index], _colour(scale))
        place += TILE + GAP
