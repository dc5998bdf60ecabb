"""Drawings of points and lines as SVG: an axis each way, a colour and a mark a series, a legend to the right."""
import html

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 900, 460, 64, 40, 300, 52
COLOURS = ["#1b6ca8", "#d1495b", "#2e8b57", "#e08e1b", "#7b4fa3", "#008b8b", "#8c564b", "#596275", "#c2185b", "#6b8e23"]


def ticks(low, high, most=7):
    """Round numbers from low to high."""
    step = 10.0 ** -6
    while (high - low) / step > most:
        for factor in (2.0, 2.5, 2.0):
            if (high - low) / step > most:
                step *= factor
    first = -(-low // step)
    found = []
    while first * step <= high + 1e-9:
        found.append(first * step)
        first += 1
    return found


def mark(index, x, y, colour):
    kind = index // len(COLOURS) + index % 3
    if kind % 3 == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>'
    if kind % 3 == 1:
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="{colour}"/>'
    return f'<path d="M{x:.1f} {y - 5.5:.1f} l5 9.5 h-10 z" fill="{colour}"/>'


def draw(title, x_title, y_title, series, level=None, joined=True):
    """series: name -> [(x, y), …], joined by a line; level: (name, y), a line across."""
    points = [p for line in series.values() for p in line]
    if not points:
        return ""
    xs, ys = [p[0] for p in points], [p[1] for p in points] + ([level[1]] if level else [])
    spread_x, spread_y = (max(xs) - min(xs)) or 1.0, (max(ys) - min(ys)) or 1.0
    x0, x1 = min(xs) - 0.04 * spread_x, max(xs) + 0.04 * spread_x
    y0, y1 = min(ys) - 0.06 * spread_y, max(ys) + 0.06 * spread_y
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def px(x):
        return LEFT + (x - x0) / (x1 - x0) * (right - LEFT)

    def py(y):
        return bottom - (y - y0) / (y1 - y0) * (bottom - TOP)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
           f'<text x="{LEFT}" y="22" font-size="15" fill="#222">{html.escape(title)}</text>']
    for x in ticks(x0, x1):
        out.append(f'<path d="M{px(x):.1f} {TOP} V{bottom}" stroke="#e6e6e6"/>'
                   f'<text x="{px(x):.1f}" y="{bottom + 17}" text-anchor="middle" fill="#444">{x:g}</text>')
    for y in ticks(y0, y1):
        out.append(f'<path d="M{LEFT} {py(y):.1f} H{right}" stroke="#e6e6e6"/>'
                   f'<text x="{LEFT - 7}" y="{py(y) + 4:.1f}" text-anchor="end" fill="#444">{y:g}</text>')
    out.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 14}" text-anchor="middle" fill="#222">{html.escape(x_title)}</text>')
    out.append(f'<text transform="translate(16 {(TOP + bottom) / 2}) rotate(-90)" text-anchor="middle" fill="#222">{html.escape(y_title)}</text>')
    if level:
        out.append(f'<path d="M{LEFT} {py(level[1]):.1f} H{right}" stroke="#222" stroke-dasharray="5 4"/>'
                   f'<text x="{right - 4}" y="{py(level[1]) - 5:.1f}" text-anchor="end" fill="#222">{html.escape(level[0])}</text>')
    for index, (name, line) in enumerate(series.items()):
        colour = COLOURS[index % len(COLOURS)]
        line = sorted(line)
        if joined and len(line) > 1:
            path = " ".join(f"{'M' if i == 0 else 'L'}{px(x):.1f} {py(y):.1f}" for i, (x, y) in enumerate(line))
            out.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        out += [mark(index, px(x), py(y), colour) for x, y in line]
        legend = TOP + 8 + 17 * index
        out.append(mark(index, right + 22, legend, colour))
        out.append(f'<text x="{right + 34}" y="{legend + 4}" fill="#222">{html.escape(name)}</text>')
    return "\n".join(out + ["</svg>"]) + "\n"
