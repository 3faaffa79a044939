/** Figures of repeated runs. */

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? (sorted[middle] ?? Number.NaN) : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2
}

/** Median of the ratios of runs that stood side by side, not ratio of the medians: noise that hit both cancels. */
export function ratio(ours: readonly number[], theirs: readonly number[]): number {
  return round(median(ours.map((value, index) => value / (theirs[index] ?? Number.NaN))))
}

export function difference(ours: readonly number[], theirs: readonly number[]): number {
  return round(median(ours.map((value, index) => value - (theirs[index] ?? Number.NaN))))
}

export function round(value: number): number {
  return Math.round(value * 1000) / 1000
}
