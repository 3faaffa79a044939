/** Calls per tool: how many, how many failed, how long they took. Percentiles are nearest-rank: a number that was really measured. */

import type { Row } from './row.ts'

export interface ToolStats {
  readonly tool: string
  readonly calls: number
  readonly errors: number
  /** Calls without an answer. */
  readonly pending: number
  /** Absent when no call was answered. */
  readonly p50Us?: number
  readonly p95Us?: number
  readonly maxUs?: number
}

/** Most called first, then by name. */
export function toolStats(rows: readonly Row[]): readonly ToolStats[] {
  const tools = new Map<string, { calls: number; errors: number; pending: number; latencies: number[] }>()
  for (const row of rows) {
    if (row.tool === undefined) continue
    const stats = tools.get(row.tool) ?? { calls: 0, errors: 0, pending: 0, latencies: [] }
    tools.set(row.tool, stats)
    if (row.type === 'request') {
      stats.calls += 1
      if (row.pending === true) stats.pending += 1
    }
    if (row.type === 'response') {
      if (row.isError) stats.errors += 1
      if (row.latencyUs !== undefined) stats.latencies.push(row.latencyUs)
    }
  }
  return [...tools]
    .map(([tool, { latencies, ...counts }]) => ({ tool, ...counts, ...latencyStats(latencies) }))
    .sort((a, b) => b.calls - a.calls || (a.tool < b.tool ? -1 : 1))
}

function latencyStats(latencies: number[]): Pick<ToolStats, 'p50Us' | 'p95Us' | 'maxUs'> {
  if (latencies.length === 0) return {}
  latencies.sort((a, b) => a - b)
  return { p50Us: percentile(latencies, 50), p95Us: percentile(latencies, 95), maxUs: latencies.at(-1) ?? 0 }
}

/** @param sorted ascending, not empty */
export function percentile(sorted: readonly number[], percent: number): number {
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? 0
}
