"""A data set of the hub, streamed: `transformer/fineweb_dataset.py` explains how it all works.

| File | The question it answers |
|---|---|
| `config.py` | Which data set, kept where, and what is an epoch? |
| `hub.py` | What files are there, and how are any bytes of them read? |
| `retry.py` | Which failures are worth another try, and for how long? |
| `remote_parquet.py` | How is one row group read of a file that is not here? |
| `shard.py` | Where are files cut, and which shards validate? |
| `cached_shard.py` | What is in a shard on disk, and how is damage found? |
| `shard_cache.py` | Which shards stay on disk, and which one goes? |
| `shard_builder.py` | How is a shard made while training runs? |
| `block_order.py` | Which sequence comes next, and how is a position saved? |
| `block_stream.py` | How do blocks become rows of batches, read ahead? |
| `hub_dataset.py` | What is in the data set, and where do a block's tokens come from right now? |
| `shared_start.py` | Where does an epoch start, if several loader workers read it? |
| `background.py` | How does work run in the background without delaying the end of a program? |
| `fork_gate.py` | When may a process with such threads be forked? |
"""
