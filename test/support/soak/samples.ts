/** What a process takes, looked at again and again. */

import { readdir, readFile } from 'node:fs/promises'

export interface Sample {
  readonly rssMb: number
  readonly descriptors: number
}

/** @returns undefined when the process is gone */
export async function sampleOf(pid: number): Promise<Sample | undefined> {
  try {
    const status = await readFile(`/proc/${pid}/status`, 'utf8')
    return { rssMb: Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1024, descriptors: (await readdir(`/proc/${pid}/fd`)).length }
  } catch {
    return undefined
  }
}

export interface Flatness {
  readonly secondThird: number
  readonly lastThird: number
  readonly most: number
}

/** Medians of the second and of the last third: what a leak moves, and a spike does not. */
export function flatness(values: readonly number[]): Flatness {
  const third = Math.floor(values.length / 3)
  return { secondThird: median(values.slice(third, 2 * third)), lastThird: median(values.slice(2 * third)), most: Math.max(...values) }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}
