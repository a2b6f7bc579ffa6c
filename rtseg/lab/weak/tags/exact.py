"""Tag assignment solved to proven optimality: eq 8, linearised, by HiGHS' branch and cut."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import WeakSupervisionError
from rtseg.lab.weak.tags.program import TagProgram


def solve_exactly(program: TagProgram, most_nodes: int | None = None) -> tuple[NDArray[np.int32] | None, float]:
    """The best choice of slots and a proven upper bound of the objective.

    Every pair x_u x_v becomes a column y <= x_u, y <= x_v; as weights are positive, y = min(x_u, x_v) at the optimum
    and need not be integer.

    Args:
        program: what is to be solved.
        most_nodes: stop after so many nodes of the search tree; None goes on until optimality is proven.

    Returns:
        (n,) int32 chosen slot of each instance, -1 for noise, and HiGHS' dual bound; None for the slots where the
        search stopped before it had found any choice.
    """
    try:
        import highspy
    except ImportError as error:
        raise WeakSupervisionError(
            "the exact tag assignment needs highspy, which is not installed; pip install highspy, "
            'or use method="relaxation"'
        ) from error

    slots, pairs, n = len(program.scores), len(program.pair_weights), program.vertices
    columns, rows = slots + pairs, n + 1 + 2 * pairs
    infinity = highspy.kHighsInf
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = columns, rows
    lp.sense_ = highspy.ObjSense.kMaximize
    lp.col_cost_ = np.concatenate([program.scores, program.pair_weights])
    lp.col_lower_, lp.col_upper_ = np.zeros(columns), np.ones(columns)
    lp.integrality_ = [highspy.HighsVarType.kInteger] * slots + [highspy.HighsVarType.kContinuous] * pairs
    # Rows: one tag an instance; the number kept; y - x <= 0 for both ends of every pair.
    lower = np.full(rows, -infinity)
    upper = np.concatenate([np.ones(n), [program.kept], np.zeros(2 * pairs)])
    lower[n] = program.kept
    lp.row_lower_, lp.row_upper_ = lower, upper

    pair_rows = n + 1 + np.arange(2 * pairs).reshape(2, pairs)
    pair_columns = np.tile(slots + np.arange(pairs), (2, 1))
    ends = np.stack([program.pair_first, program.pair_second])
    row = np.concatenate([program.slot_vertex, np.full(slots, n), pair_rows.ravel(), pair_rows.ravel()])
    column = np.concatenate([np.arange(slots), np.arange(slots), pair_columns.ravel(), ends.ravel()])
    value = np.concatenate([np.ones(2 * slots + 2 * pairs), np.full(2 * pairs, -1.0)])
    order = np.lexsort((column, row))
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows))]).astype(np.int32)
    lp.a_matrix_.index_ = column[order].astype(np.int32)
    lp.a_matrix_.value_ = value[order]

    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("mip_rel_gap", 0.0)
    solver.setOptionValue("mip_abs_gap", 1e-7)
    solver.setOptionValue("mip_feasibility_tolerance", 1e-9)
    if most_nodes is not None:
        solver.setOptionValue("mip_max_nodes", most_nodes)
    solver.passModel(lp)
    solver.run()
    status = solver.getModelStatus()
    stopped = most_nodes is not None and status == highspy.HighsModelStatus.kSolutionLimit
    if status != highspy.HighsModelStatus.kOptimal and not stopped:
        ending = solver.modelStatusToString(status)
        raise WeakSupervisionError(
            f'HiGHS ended with "{ending}" on {n} instances; use method="relaxation", which always gives an answer'
        )
    bound = float(solver.getInfo().mip_dual_bound)
    if solver.getInfo().primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return None, bound
    x = np.asarray(solver.getSolution().col_value[:slots])
    chosen = np.full(n, -1, np.int32)
    taken = np.flatnonzero(x > 0.5).astype(np.int32)
    chosen[program.slot_vertex[taken]] = taken
    return chosen, bound
