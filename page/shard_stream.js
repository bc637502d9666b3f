// How FineWeb blocks reach the training, in small: the reader of
// src/transformer/data/fineweb/block_reader.py, the builder of shard_builder.py beside it, and the
// cache. Orders and shard sizes are those of the real code (page/samples.data.js).
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const BLOCK_MB = 2, PIECE = 16; // a build fetches 32 MiB, 16 blocks, at a time

  class ShardStream {
    /** fineweb: Page.samples.fineweb. */
    constructor(fineweb, maxShards) {
      Object.assign(this, { fineweb, place: -1, turn: 0, requests: 0, megabytes: 0, last: null });
      this.cache = new Page.ShardCache(maxShards);
      this.built = new Map(); // shard -> blocks that its build has fetched
      this.kept = new Set(); // "shard block": block files
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

    /** Read one block; meanwhile the builder fetches one piece. Returns where it came from. */
    read() {
      if (this.isOver) return null;
      if (this.turn === this.blocks.length) this.turnTo(this.place + 1);
      const block = this.blocks[this.turn++], key = `${this.shard} ${block}`;
      let way = "hub";
      if (this.cache.open(this.shard)) way = "shard";
      else if (this.kept.has(key)) way = "block";
      else {
        this.requests += 1;
        this.megabytes += BLOCK_MB;
        this.kept.add(key);
      }
      this.from[way] += 1;
      this.last = { shard: this.shard, block, way, evicted: this.build() };
      return this.last;
    }

    /** One piece of the most urgent shard that is not cached; returns what was evicted. */
    build() {
      const wanted = [this.shard, this.next].filter((shard) => shard !== null);
      const shard = wanted.find((one) => !this.cache.has(one));
      if (shard === undefined) return [];
      const size = this.size(shard), done = Math.min(size, this.done(shard) + PIECE);
      this.requests += 1;
      this.megabytes += BLOCK_MB * (done - this.done(shard));
      this.built.set(shard, done);
      if (shard === this.shard) for (let block = 0; block < done; block++) this.kept.add(`${shard} ${this.first(shard) + block}`);
      if (done < size) return [];
      for (const key of [...this.kept]) if (key.startsWith(`${shard} `)) this.kept.delete(key);
      const evicted = this.cache.publish(shard, wanted);
      for (const gone of evicted) this.built.delete(gone);
      return evicted;
    }

    done(shard) {
      return this.built.get(shard) ?? 0;
    }

    size(shard) {
      return this.range(shard)[1] - this.first(shard);
    }

    first(shard) {
      return this.range(shard)[0];
    }

    /** Row groups of a shard: ⌊jG/n⌋ … ⌊(j+1)G/n⌋ of its file's G. */
    range(shard) {
      const [, part, parts, groups] = this.fineweb.shards[shard];
      return [Math.floor((part * groups) / parts), Math.floor(((part + 1) * groups) / parts)];
    }

    /** Where a block of the current shard is: "shard" (cached), "block" (kept alone) or "hub". */
    whereIs(block) {
      if (this.cache.has(this.shard)) return "shard";
      return this.kept.has(`${this.shard} ${block}`) ? "block" : "hub";
    }
  }

  Object.assign(Page, { ShardStream });
})();
