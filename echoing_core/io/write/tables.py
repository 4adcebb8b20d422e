"""`Outgoing` to CSV and Parquet: a column of times in seconds and one of millivolts a lead."""

from __future__ import annotations

import io

import numpy as np

from echoing_core.errors import ConfigError
from echoing_core.io.write.outgoing import Outgoing

MAX_CSV_VALUES = 20_000_000
"""Some 200 MB of text."""

REMARKS_KEY = b"echoing.remarks"
"""In the metadata of a Parquet file."""


def csv_bytes(out: Outgoing) -> bytes:
    """One CSV with remarks and the sampling rate above the names; what is missing stays empty.

    Parameters
    ----------
    out : Outgoing

    Raises
    ------
    ConfigError
        Too long for a file of text.
    """
    import pandas as pd

    if out.digital.size > MAX_CSV_VALUES:
        raise ConfigError(
            f"The recording has {out.digital.size:,} samples, too many for a CSV (up to "
            f"{MAX_CSV_VALUES:,}). Choose Parquet, EDF or WFDB."
        )
    # Four digits after the point are a tenth of a microvolt, the finest unit.
    frame = pd.DataFrame(out.signal_mv().T, columns=[f"{n} (mV)" for n in out.lead_names])
    frame.insert(0, "time (s)", [f"{t:.6f}" for t in (np.arange(out.n_times) / out.fs_hz)])
    lines = [f"# {remark}\n" for remark in out.remarks]
    lines.append(f"# Sampling rate: {out.fs_hz:.10g} Hz\n")
    return "".join([*lines, frame.to_csv(index=False, float_format="%.4f")]).encode()


def parquet_bytes(out: Outgoing) -> bytes:
    """One Parquet with remarks in its metadata; what is missing is null.

    Parameters
    ----------
    out : Outgoing
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"time_s": pa.array(np.arange(out.n_times) / out.fs_hz)}
    for name, row in zip(out.lead_names, out.signal_mv(), strict=True):
        columns[f"{name}_mV"] = pa.array(row.astype(np.float32), from_pandas=True)
    table = pa.table(columns)
    table = table.replace_schema_metadata({
        REMARKS_KEY: "\n".join(out.remarks).encode(),
        # As our reader looks for them.
        b"fs_hz": f"{out.fs_hz:.10g}".encode(),
        b"units": b"mV",
    })  # fmt: skip
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()
