// How FineWeb's row groups (blocks, in the code) reach the training, in small: the ways of
// src/transformer/data/fineweb/hub_dataset.py, the builder of shard_builder.py, and the cache. Orders and shard sizes are those of the real code (page/samples.data.js).
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const BLOCK_MB = 2, PACE = 16; // blocks that the builder fetches while training uses one

  class ShardStream {
    /** fineweb: Page.samples.fineweb. */
    constructor(fineweb, maxShards) {
      Object.assign(this, { fineweb, place: -1, turn: 0, requests: 0, last: null });
      this.cache = new Page.ShardCache(maxShards);
      this.kept = new Map(); // shard -> the blocks of it that were fetched
      this.from = { shard: 0, block: 0, hub: 0 };
      this.turnTo(0);
    }

    /** The shard at this place of the epoch's order becomes the current one. */
    turnTo(place) {
      Object.assign(this, { place, turn: 0 });
      this.shard = this.fineweb.order[place];
      this.next = this.fineweb.order[place + 1] ?? null;
      this.blocks = this.fineweb.blocks[place]; // in the order of reading
      this.cache.open(this.shard);
    }

    get isOver() {
      return this.turn === this.blocks.length && this.fineweb.blocks[this.place + 1] === undefined;
    }

    get megabytes() {
      return this.requests * BLOCK_MB;
    }

    /** Read one block; meanwhile the builder fetches a few. Returns where it came from. */
    read() {
      if (this.isOver) return null;
      if (this.turn === this.blocks.length) this.turnTo(this.place + 1);
      this.cache.open(this.shard);
      const block = this.blocks[this.turn++], way = this.whereIs(block);
      if (way === "hub") this.fetch(this.shard, block);
      this.from[way] += 1;
      this.last = { shard: this.shard, block, way, evicted: this.build() };
      return this.last;
    }

    /** The next blocks of the most urgent shard that is not cached; returns what was evicted. */
    build() {
      const wanted = [this.shard, this.next].filter((shard) => shard !== null);
      const shard = wanted.find((one) => !this.cache.has(one));
      if (shard === undefined) return [];
      const [from, to] = this.range(shard);
      for (let block = from, n = 0; block < to && n < PACE; block++) n += this.fetch(shard, block);
      if (this.done(shard) < to - from) return [];
      this.kept.delete(shard);
      return this.cache.publish(shard, wanted);
    }

    /** Fetch a block unless it was fetched before; returns the number of requests. */
    fetch(shard, block) {
      const kept = this.kept.get(shard) ?? new Set();
      if (kept.has(block)) return 0;
      this.kept.set(shard, kept.add(block));
      this.requests += 1;
      return 1;
    }

    done(shard) {
      return this.cache.has(shard) ? this.size(shard) : (this.kept.get(shard)?.size ?? 0);
    }

    size(shard) {
      const [from, to] = this.range(shard);
      return to - from;
    }

    /** Row groups of a shard: ⌊jG/n⌋ … ⌊(j+1)G/n⌋ of its file's G. */
    range(shard) {
      const [, part, parts, groups] = this.fineweb.shards[shard];
      return [Math.floor((part * groups) / parts), Math.floor(((part + 1) * groups) / parts)];
    }

    /** Where a block of the current shard is: "shard" (cached), "block" (kept alone) or "hub". */
    whereIs(block) {
      if (this.cache.has(this.shard)) return "shard";
      return this.kept.get(this.shard)?.has(block) ? "block" : "hub";
    }
  }

  Object.assign(Page, { ShardStream });
})();
