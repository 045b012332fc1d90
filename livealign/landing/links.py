"""Links between rows that are one event, so that they land or are rejected together.

A play and the impressions that were inferred for it are such an event.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from livealign.landing.rules import CheckedRows, RejectReason

Ints = npt.NDArray[np.int64]
LINKED = "linked_row_rejected"


def link(checked: Mapping[str, CheckedRows], groups: Mapping[str, Ints]) -> dict[str, CheckedRows]:
    """The verdicts, with every good row of a group that has a bad row rejected too.

    Args:
        checked: the verdict on each table's rows.
        groups: [n] for each table, the event that each row belongs to; the same numbers mean the same events in all tables.

    Returns:
        The verdicts by table; the detail of an innocent row names the table and the fault of the first culprit.
    """
    culprits: list[RejectReason] = []
    bad_groups, bad_faults = [], []
    for name, verdict in checked.items():
        bad = np.flatnonzero(verdict.reason_index >= 0)
        bad_groups.append(groups[name][bad])
        bad_faults.append(verdict.reason_index[bad] + len(culprits))
        culprits += [RejectReason(LINKED, f"of {name}: {fault.reason}, {fault.detail}") for fault in verdict.reasons]
    guilty, first = np.unique(np.concatenate(bad_groups), return_index=True)
    if not len(guilty):
        return dict(checked)
    fault_of = np.concatenate(bad_faults)[first]
    linked = {}
    for name, verdict in checked.items():
        place = np.minimum(np.searchsorted(guilty, groups[name]), len(guilty) - 1)
        innocent = (guilty[place] == groups[name]) & (verdict.reason_index < 0)
        reason_index = np.where(innocent, len(verdict.reasons) + fault_of[place], verdict.reason_index).astype(np.int32)
        linked[name] = replace(verdict, reason_index=reason_index, reasons=[*verdict.reasons, *culprits])
    return linked
