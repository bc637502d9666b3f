// Step 7, third part: FineWeb's split, its streaming and its cache, as simulations to operate.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { element, svg, keep, readout } = Page;
  const WAY = {
    hub: "from the hub, one request of about 2 MB",
    block: "from a file on disk, which the builder had fetched",
    shard: "from the cached shard on disk, no request",
  };
  const figure = { stream: null, rooms: 5 };

  function mount(root) {
    figure.split = Page.slot(root, "split");
    figure.streaming = Page.slot(root, "streaming");
    figure.cache = Page.slot(root, "cache");
    const row = Page.controls(figure.streaming);
    const read = (count) => () => { for (let i = 0; i < count; i++) figure.stream.read(); drawStream(); };
    Page.button(row, { label: "Read the next row group", onClick: read(1) });
    Page.button(row, { label: "Read 10", onClick: read(10) });
    Page.button(row, { label: "Read 100", onClick: read(100) });
    Page.slider(row, { label: "max_cached_shards", min: 2, max: 8, value: 5, onInput: (value) => { figure.rooms = value; restart(); } });
    Page.button(row, { label: "Start over", onClick: restart });
    mountCache();
  }

  function render(state, change) {
    if (!["model", "resize", "theme"].includes(change)) return; // no prompt in here
    if (!figure.stream) figure.stream = new Page.ShardStream(Page.samples.fineweb, figure.rooms);
    drawSplit();
    drawStream();
    drawCache();
  }

  function restart() {
    figure.stream = new Page.ShardStream(Page.samples.fineweb, figure.rooms);
    drawStream();
  }

  /** Every shard of sample-10BT as a cell: files down, parts across. */
  function drawSplit() {
    const { shards, validation } = Page.samples.fineweb, held = new Set(validation);
    const files = shards.at(-1)[0] + 1, parts = Math.max(...shards.map((shard) => shard[2]));
    const at = new Map(shards.map(([file, part], number) => [file * parts + part, number]));
    const values = Array.from({ length: files * parts }, (_, i) => (at.has(i) ? (held.has(at.get(i)) ? 1 : 0.12) : NaN));
    Page.heatMap(figure.split, {
      label: "Shards of sample-10BT by file and part; strong: validation", rows: files, columns: parts, values,
      max: 1, hue: "probability", cell: 26, cellHeight: 16, rowLabels: Array.from({ length: files }, (_, f) => `file ${f}`),
      columnLabels: Array.from({ length: parts }, (_, p) => `part ${p}`),
      describe: (file, part) => {
        const number = at.get(file * parts + part);
        if (number === undefined) return `file ${file} is smaller and has no part ${part}`;
        const [from, to] = figure.stream.range(number);
        return `shard ${number}: row groups ${from} … ${to - 1} of file ${file}; ${held.has(number) ? "validation" : "training"}`;
      },
    });
    readout(figure.split, `${shards.length} shards; ${held.size} of them (${((100 * held.size) / shards.length).toFixed(1)} %) are validation, `
      + "chosen by the hash of file name and part: the same ones on every machine, without a list to keep.");
  }

  function drawStream() {
    const { stream } = figure, [from, to] = stream.range(stream.shard);
    const cells = Array.from({ length: to - from }, (_, i) => stream.whereIs(from + i));
    const read = new Set(stream.blocks.slice(0, stream.turn));
    drawBlocks(cells, from, read);
    const chips = keep(figure.streaming, "cached", () => element("div"));
    Page.subtitle(chips, "Cached shards, longest unused first");
    const order = stream.cache.order;
    Page.chips(chips, { label: "Cached shards", tokens: order.length ? order.map((shard) => `shard ${shard}`) : ["none yet"],
      pinned: order.indexOf(stream.shard) });
    const { last, from: ways } = stream, tokens = ways.hub + ways.block + ways.shard;
    const what = last ? `Row group ${last.block} of shard ${last.shard}: ${WAY[last.way]}.` : `The epoch begins with shard ${stream.shard}.`;
    const evicted = last?.evicted.length ? ` Shard ${last.evicted.join(", ")} was evicted.` : "";
    const over = stream.isOver ? " The simulation ends here; the epoch continues." : "";
    readout(figure.streaming, `${what}${evicted} Read so far: ${ways.hub} row groups from the hub, ${ways.block} from files of single row groups, `
      + `${ways.shard} from cached shards (about ${(tokens * 0.7).toFixed(1)} million tokens). On disk are `
      + `${stream.done(stream.shard)} of ${to - from} row groups of shard ${stream.shard}`
      + `${stream.next === null ? "" : ` and ${stream.done(stream.next)} of the next, shard ${stream.next}`}. `
      + `${stream.requests} requests, ${stream.megabytes.toLocaleString("en-US")} MB.${over}`);
  }

  /** A cell for each row group of the current shard; underlined: already read. */
  function drawBlocks(cells, from, read) {
    const width = Math.min(figure.streaming.clientWidth || 600, 640), columns = Math.floor(width / 16);
    const rows = Math.ceil(cells.length / columns), height = rows * 20;
    const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `Row groups of shard ${figure.stream.shard}: ${cells.filter((way) => way !== "hub").length} of ${cells.length} are on disk, ${read.size} read` });
    cells.forEach((way, i) => {
      const x = (i % columns) * 16, y = Math.floor(i / columns) * 20;
      picture.append(svg("rect", { x, y, width: 13, height: 13, rx: 2, class: `block-cell ${way}` }));
      if (read.has(from + i)) picture.append(svg("rect", { x, y: y + 15, width: 13, height: 2.5, fill: "var(--ink)" }));
    });
    const item = (way, text) => element("li", {}, svg("svg", { width: 15, height: 15, "aria-hidden": "true" },
      svg("rect", { x: 1, y: 1, width: 13, height: 13, rx: 2, class: `block-cell ${way}` })), element("span", { text }));
    const legend = element("ul", { class: "legend", role: "list" }, item("hub", "on the hub"), item("block", "in a file of its own"),
      item("shard", "in the cached shard"), element("li", {}, element("span", { text: "underlined: already read" })));
    const box = keep(figure.streaming, "blocks", () => element("div"));
    box.replaceChildren(element("p", { class: "subtitle", text: `Row groups of the current shard, ${figure.stream.shard}` }), picture, legend);
  }

  function mountCache() {
    const row = Page.controls(figure.cache);
    figure.capacity = Page.slider(row, { label: "max_cached_shards", min: 2, max: 8, value: 5, onInput: () => emptyCache() });
    const requests = keep(figure.cache, "requests", () => element("div"));
    Page.subtitle(requests, "Open a shard");
    Page.chips(requests, { label: "Shards to open", tokens: Array.from({ length: 10 }, (_, i) => `shard ${i}`), onPick: (i) => openShard(i) });
    const held = keep(figure.cache, "held", () => element("div"));
    Page.subtitle(held, "In the cache, longest unused first");
    emptyCache();
  }

  function emptyCache() {
    Object.assign(figure, { lru: new Page.ShardCache(figure.capacity.value), hits: 0, misses: 0, current: null });
    drawCache("Nothing is cached yet. Open a shard.");
  }

  function openShard(shard) {
    if (figure.lru.open(shard)) {
      figure.hits++;
      drawCache(`Shard ${shard} is in the cache: it has just been used, so it moves to the end.`);
    } else {
      figure.misses++;
      const evicted = figure.lru.publish(shard, [shard]);
      figure.lru.open(shard);
      drawCache(`Shard ${shard} is not in the cache: it is fetched (268 MB) and put into the cache.`
        + (evicted.length ? ` There is no room for it: shard ${evicted.join(", ")}, longest unused, is deleted.` : ""));
    }
  }

  function drawCache(text = figure.told) {
    figure.told = text;
    const order = figure.lru.order, free = figure.lru.maxShards - order.length;
    Page.chips(keep(figure.cache, "held", () => element("div")), { label: "Cached shards, longest unused first",
      tokens: [...order.map((shard) => `shard ${shard}`), ...Array(free).fill("free")], pinned: order.indexOf(figure.lru.opened) });
    readout(figure.cache, `${text} Hits: ${figure.hits}, misses: ${figure.misses}.`);
  }

  Page.step("training", { mount, render });
})();
