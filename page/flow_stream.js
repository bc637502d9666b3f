// The residual stream of the flow (steps/flow.js): a line along the stations, as thick as the pinned
// token's vector is long. Each part reads from it by one wire and adds to it by another.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { svg } = Page;
  const THINNEST = 2, THICKEST = 15, RADIUS = 7, GAP = 40; // pixels; GAP: from the pictures to the stream

  /** Lengths of row t of the stream: of the embedding, after the attention of block 0, and after
   *  each block. */
  function streamLengths({ trace, model }, t) {
    const written = trace.row("blocks.0.feed_forward.output", t);
    const middle = trace.row("blocks.0.residual", t).map((value, i) => value - written[i]);
    const blocks = model.blocks.map((_, i) => Page.norm(trace.row(`blocks.${i}.residual`, t)));
    return [Page.norm(trace.row("embedding", t)), Page.norm(middle), ...blocks];
  }

  /** Where a node is, along the stream and across it; `edge` is its side towards the stream. */
  function placeOf(node, road, wide) {
    const { left, right, top, bottom } = node.getBoundingClientRect(), origin = road.getBoundingClientRect();
    const x = [left - origin.left, right - origin.left], y = [top - origin.top, bottom - origin.top];
    const [along, across] = wide ? [x, y] : [y, x], middle = ([from, to]) => (from + to) / 2;
    return { from: along[0], to: along[1], middle: middle(along), across: middle(across), edge: wide ? y[1] : x[0], back: wide ? y[0] : x[1] };
  }

  /** Draws between points [along, across], to the right or downwards. */
  class Pen {
    constructor(wide) {
      this.wide = wide;
    }

    turn([along, across]) {
      return this.wide ? [along, across] : [across, along];
    }

    /** Straight from point to point; the corners are round. */
    line(kind, points, width) {
      return svg("path", { class: kind, d: `M${points.map((point) => this.turn(point).join(" ")).join("L")}`, "stroke-width": width });
    }

    /** The same with a tip at its end. */
    arrow(kind, points, width, size = 7) {
      const to = points.at(-1), step = to.map((value, i) => Math.sign(points.at(-2)[i] - value)), back = to.map((value, i) => value + size * step[i]);
      const [x, y] = this.turn(to), [dx, dy] = this.turn(step).map((value) => value * size), half = 0.6;
      const tip = `${x},${y} ${x + dx + half * dy},${y + dy + half * dx} ${x + dx - half * dy},${y + dy - half * dx}`;
      return svg("g", { class: kind }, this.line("", [...points.slice(0, -1), back], width), svg("polygon", { points: tip }));
    }

    plus(hue, at) {
      const [x, y] = this.turn(at);
      return svg("g", { class: `plus hue-${hue}` }, svg("circle", { cx: x, cy: y, r: RADIUS }),
        svg("path", { d: `M${x - 4} ${y}h8M${x} ${y - 4}v8` }));
    }

    /** A frame around a block: from behind its pictures to beyond the stream. */
    frame(from, to, back, front) {
      const [[x1, y1], [x2, y2]] = [this.turn([from, back]), this.turn([to, front])], top = Math.min(y1, y2);
      return svg("g", { class: "block-frame" },
        svg("rect", { rx: 12, x: Math.min(x1, x2), y: top, width: Math.abs(x2 - x1), height: Math.abs(y2 - y1) }),
        this.wide && svg("text", { x: (x1 + x2) / 2, y: y2 - 7, "text-anchor": "middle", text: "block 0" }));
    }
  }

  /** Draws it over `road`. wide: it runs to the right, not downwards. tokens, vectors, next: the
   *  nodes before it and behind it; parts: [{node, hue, length: of the stream from there on}], the
   *  first two make block 0, one without a hue stands for blocks that are left out; start: its length before them; longest: the length of the thickest line. */
  function drawStream(road, { wide, tokens, vectors, next, parts, start, longest }) {
    const picture = Page.keep(road, "stream", () => svg("svg", { class: "stream", "aria-hidden": "true" }));
    const pen = new Pen(wide), place = (node) => placeOf(node, road, wide), side = wide ? 1 : -1;
    const [before, begin, end] = [tokens, vectors, next].map(place), level = begin.edge + side * GAP;
    const width = (length) => Number((THINNEST + ((THICKEST - THINNEST) * length) / (longest || 1)).toFixed(2));
    const places = parts.map((part) => ({ ...part, ...place(part.node) })), reads = [], bus = [], writes = [];
    let from = [[begin.middle, begin.edge], [begin.middle, level]], now = start;
    for (const { hue, length, middle, edge, ...one } of places) {
      const reach = hue ? Math.min(18, (one.to - one.from) / 4) : 0, plus = [middle + reach, level];
      bus.push(pen.line("bus", [...from, plus], width(now)));
      [from, now] = [[plus], length];
      if (!hue) continue;
      reads.push(pen.arrow(`wire hue-${hue}`, [[middle - reach, level], [middle - reach, edge + side * 2]], 1.5));
      writes.push(pen.arrow(`wire hue-${hue}`, [[plus[0], edge], [plus[0], level - side * RADIUS]], 1.5), pen.plus(hue, plus));
    }
    bus.push(pen.arrow("bus", [...from, [end.middle, level], [end.middle, end.edge + side * 2]], width(now), 6 + 0.75 * width(now)));
    const [first, second] = places, back = wide ? Math.min(first.back, second.back) : Math.max(first.back, second.back);
    const frame = pen.frame(first.from - 10, second.to + 10, back - side * 10, level + (wide ? 34 : -16));
    reads.push(pen.arrow("wire hue-residual", [[before.to + 3, before.across], [begin.from - 3, before.across]], 1.5));
    picture.replaceChildren(frame, ...reads, ...bus, ...writes);
  }

  Object.assign(Page, { streamLengths, drawStream });
})();
