// A plot: axes with ticks, one line a series or columns, a legend in words, lines to compare with.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { element, svg, keep, format } = Page;

  /** options: {label, x, y, logX, logY, xMin, yMin, yMax, height, marker: x, points: [{x, y, hue, label}],
   *  series: [{name (none: not in the legend), points: [[x, y]], hue, dashed, faded, text (at its end)}], legend: false,
   *  columns: [{from, to, y, hue}], rules: [{x or y, text, late: at the right end of y}]: straight lines with their names} */
  function linePlot(box, options) {
    const holder = keep(box, "plot", () => element("div", { class: "plot" }));
    const scale = scales(box, options);
    const picture = svg("svg", { width: scale.width, height: scale.height, role: "img",
      "aria-label": options.label, viewBox: `0 0 ${scale.width} ${scale.height}` });
    picture.append(...axes(options, scale), ...(options.columns ?? []).map((one) => column(one, scale)),
      ...options.series.map((line) => curve(line, scale)), ...(options.rules ?? []).flatMap((one) => rule(one, scale)),
      ...options.series.filter(({ text }) => text).map((line) => endText(line, scale)));
    if (options.marker != null) {
      const x = scale.x(options.marker);
      picture.append(svg("line", { class: "marker", x1: x, x2: x, y1: scale.top, y2: scale.bottom }));
    }
    for (const { x, y, hue = "ink", label } of options.points ?? []) {
      picture.append(svg("circle", { class: "point", cx: scale.x(x), cy: scale.y(y), r: 4, fill: `var(--${hue})` },
        ...(label ? [svg("title", { text: label })] : [])));
    }
    const explained = options.legend !== false && options.series.length > 1;
    holder.replaceChildren(picture, ...(explained ? [legend(options.series)] : []));
    return holder;
  }

  function scales(box, { series, columns = [], logX, logY, xMin, yMin, yMax, height = 260 }) {
    const width = Math.max(280, Math.min(Page.widthOf(box), 720));
    const [left, right, top, bottom] = [64, width - 14, 14, height - 44];
    const xs = [...series.flatMap((line) => line.points.map((p) => p[0])), ...columns.flatMap(({ from, to }) => [from, to])].filter((v) => !logX || v > 0);
    const ys = [...series.flatMap((line) => line.points.map((p) => p[1])), ...columns.map(({ y }) => y)].filter((v) => Number.isFinite(v) && (!logY || v > 0));
    const xRange = range(xs), yRange = range(ys);
    if (xMin != null) xRange[0] = xMin;
    if (yMin != null) yRange[0] = yMin;
    if (yMax != null) yRange[1] = yMax;
    const map = ([low, high], from, to, log) => {
      const f = log ? Math.log : (v) => v, span = f(high) - f(low) || 1;
      return (v) => from + ((f(v) - f(low)) / span) * (to - from);
    };
    return { width, height, left, right, top, bottom, xRange, yRange,
      x: map(xRange, left, right, logX), y: map(yRange, bottom, top, logY) };
  }

  const range = (values) => (values.length ? [Math.min(...values), Math.max(...values)] : [0, 1]);

  function axes({ x, y, logX, logY }, scale) {
    const { left, right, top, bottom, width, height } = scale, out = [];
    for (const value of ticks(scale.yRange, logY)) {
      const at = scale.y(value);
      out.push(svg("line", { class: "grid", x1: left, x2: right, y1: at, y2: at }),
        svg("text", { class: "tick end", x: left - 8, y: at + 4, text: short(value) }));
    }
    const few = ticks(scale.xRange, logX).filter((_, i, all) => width > 420 || i % Math.ceil(all.length / 4) === 0);
    for (const value of few) {
      out.push(svg("text", { class: "tick middle", x: scale.x(value), y: bottom + 18, text: short(value) }));
    }
    out.push(svg("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }),
      svg("text", { class: "axis-name middle", x: (left + right) / 2, y: height - 6, text: x }),
      svg("text", { class: "axis-name middle", x: 13, y: (top + bottom) / 2,
        transform: `rotate(-90 13 ${(top + bottom) / 2})`, text: y }));
    return out;
  }

  const short = (value) => (value !== 0 && Math.abs(value) >= 10000 ? `${format(value / 1000).replace(/\.0+$/, "")} k`
    : value !== 0 && Math.abs(value) < 1e-3 ? format(value, 1).replace(/^1·/, "")
      : String(Number(value.toPrecision(6))).replace("-", "−"));

  function ticks([low, high], log) {
    if (log) {
      const out = [];
      for (let p = Math.ceil(Math.log10(low) - 1e-9); 10 ** p <= high * 1.0001; p++) out.push(10 ** p);
      return out.length > 1 ? out : [low, high];
    }
    const rough = (high - low) / 5 || 1, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].find((m) => m * power >= rough) * power, out = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-6; i++) out.push(i * step);
    return out;
  }

  function curve({ points, hue = "ink", dashed, faded }, scale) {
    const path = points.filter((p) => Number.isFinite(scale.x(p[0])) && Number.isFinite(scale.y(p[1])))
      .map((p) => `${scale.x(p[0]).toFixed(1)},${scale.y(p[1]).toFixed(1)}`);
    return svg("polyline", { class: `curve${dashed ? " dashed" : ""}${faded ? " faint" : ""}`, points: path.join(" "), stroke: `var(--${hue})` });
  }

  /** From the axis up to y; what is below the axis has no height. */
  function column({ from, to, y, hue = "neutral" }, { x, y: yOf, bottom }) {
    const [left, right, top] = [x(from), x(to), Math.min(bottom, yOf(y))];
    return svg("rect", { class: "column", x: left.toFixed(1), width: Math.max(0.5, right - left - 0.5).toFixed(1),
      y: top.toFixed(1), height: (bottom - top).toFixed(1), fill: `var(--${hue}-fill)` });
  }

  function rule({ x, y, text, late }, { x: xOf, y: yOf, left, right, top, bottom }) {
    const ends = y === undefined ? { x1: xOf(x), x2: xOf(x), y1: top, y2: bottom } : { x1: left, x2: right, y1: yOf(y), y2: yOf(y) };
    const [at, height] = y === undefined ? [ends.x1 + (ends.x1 > (left + right) / 2 ? -5 : 5), top + 12] : [late ? right : left + 5, ends.y1 - 5];
    const side = late || (y === undefined && ends.x1 > (left + right) / 2) ? "direct end" : "direct";
    return [svg("line", { class: "rule", ...ends }), svg("text", { class: side, x: at, y: height, text })];
  }

  /** The name of a line, above its last point. */
  function endText({ text, points, hue = "ink" }, { x, y, right, top }) {
    const [lastX, lastY] = points.at(-1) ?? [0, 0];
    return svg("text", { class: "direct end", x: Math.min(right, x(lastX)), y: Math.max(top + 12, y(lastY) - 7), fill: `var(--${hue})`, text });
  }

  function legend(series) {
    return element("ul", { class: "legend", role: "list" }, ...series.filter(({ name }) => name).map(({ name, hue = "ink", dashed }) => {
      const mark = svg("svg", { width: 26, height: 10, "aria-hidden": "true" },
        svg("line", { class: dashed ? "curve dashed" : "curve", x1: 1, x2: 25, y1: 5, y2: 5, stroke: `var(--${hue})` }));
      return element("li", {}, mark, element("span", { text: name }));
    }));
  }

  Object.assign(Page, { linePlot });
})();
