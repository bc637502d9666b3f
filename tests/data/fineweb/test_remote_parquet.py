"""One row group of a remote file: every way in which Parquet writes text."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fineweb_tools import PATH, REPO
from local_hub import LocalHub

from transformer.data.fineweb.hub_dataset import HubText
from transformer.fineweb_dataset import FineWebConfig

TEXTS = ["one", None, "", "four \N{DRAGON}"]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
@pytest.mark.parametrize("with_dictionary", [True, False])
@pytest.mark.parametrize("odd", [b"five", b"\xff five"])
def test_any_kind_of_text_is_read(
    tmp_path: Path, kind: pa.DataType, with_dictionary: bool, odd: bytes
) -> None:
    raw = [None if text is None else text.encode() for text in TEXTS] + [odd]
    column = pa.array(raw, pa.binary_view() if kind == pa.string_view() else pa.binary())
    if kind == pa.string_view():
        column = pa.Array.from_buffers(kind, len(raw), column.buffers())
    else:
        column = pa.Array.from_buffers(pa.string(), len(raw), column.buffers()).cast(kind)
    path = tmp_path / PATH / "0.parquet"
    path.parent.mkdir(parents=True)
    table = pa.table({"id": pa.array(range(5)), "text": column})
    pq.write_table(table, path, use_dictionary=with_dictionary, row_group_size=3)
    with LocalHub({REPO: tmp_path}) as hub:
        text = HubText(FineWebConfig(hub_endpoint=hub.url, cache_dir=tmp_path / "cache"), print)
        remote = text.remote(text.listing.files[0])
        read = [text for block in range(remote.n_blocks) for text in remote.read_block(block)]
    assert remote.footer.schema.to_arrow_schema().field("text").type == kind
    assert read == [text or "" for text in TEXTS] + [odd.decode(errors="replace")]
