"""Rows that are one event land or are rejected together: a play and the impressions that were inferred for it."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from livealign.landing.rules import CheckedRows, Problem

Ints = npt.NDArray[np.int64]
LINKED = "linked_row_rejected"


def link(checked: Mapping[str, CheckedRows], groups: Mapping[str, Ints]) -> dict[str, CheckedRows]:
    """The verdicts, in which every good row of a group with a bad one is rejected too.

    Args:
        checked: the verdict on each table's rows.
        groups: [n] for each table, the event that each row belongs to; the same numbers mean the same events in all tables.

    Returns:
        The verdicts by table; the detail of an innocent row names the table and the fault of the first culprit.
    """
    culprits: list[Problem] = []
    bad_groups, bad_faults = [], []
    for name, verdict in checked.items():
        bad = np.flatnonzero(verdict.problem >= 0)
        bad_groups.append(groups[name][bad])
        bad_faults.append(verdict.problem[bad] + len(culprits))
        culprits += [Problem(LINKED, f"of {name}: {fault.reason}, {fault.detail}") for fault in verdict.problems]
    guilty, first = np.unique(np.concatenate(bad_groups), return_index=True)
    if not len(guilty):
        return dict(checked)
    fault_of = np.concatenate(bad_faults)[first]
    linked = {}
    for name, verdict in checked.items():
        place = np.minimum(np.searchsorted(guilty, groups[name]), len(guilty) - 1)
        innocent = (guilty[place] == groups[name]) & (verdict.problem < 0)
        problem = np.where(innocent, len(verdict.problems) + fault_of[place], verdict.problem).astype(np.int32)
        linked[name] = replace(verdict, problem=problem, problems=[*verdict.problems, *culprits])
    return linked
