/** What is durable in the spool and not yet accepted by the sink: how much, and since when. By place in the log, so that hearing of it twice changes nothing. */

/** Records that lie one after the other in one file. */
interface Run {
  readonly file: number
  readonly begin: number
  readonly end: number
  /** When the first of them became durable, or was written. */
  readonly ms: number
}

export interface Backlog {
  /** Records of a writer became durable. In order, per writer. */
  add(writer: string, run: Run): void
  /** All of a writer's records before this place are accepted. */
  accepted(writer: string, place: { readonly file: number; readonly offset: number }): void
  /** Nothing of the writer is left. */
  gone(writer: string): void
  readonly bytes: number
  /** Within the resolution, `RUN_MS` at first, coarser when much waits for long. */
  readonly oldestMs: number | undefined
}

const RUN_MS = 100
/** Bounds memory in an outage of days: beyond it, neighbours are joined. */
const MAX_RUNS = 2048

export function createBacklog(): Backlog {
  const writers = new Map<string, { runs: Run[]; mergeMs: number }>()
  let bytes = 0

  return {
    add: (writer, run) => {
      let waiting = writers.get(writer)
      if (waiting === undefined) writers.set(writer, (waiting = { runs: [], mergeMs: RUN_MS }))
      bytes += run.end - run.begin
      const { runs } = waiting
      const last = runs.at(-1)
      if (last !== undefined && joins(last, run) && run.ms - last.ms < waiting.mergeMs) runs[runs.length - 1] = { ...last, end: run.end }
      else runs.push(run)
      if (runs.length > MAX_RUNS) {
        waiting.mergeMs *= 2
        waiting.runs = joinPairs(runs)
      }
    },
    accepted: (writer, { file, offset }) => {
      const runs = writers.get(writer)?.runs
      if (runs === undefined) return
      let over = 0
      for (const run of runs) {
        if (run.file > file || (run.file === file && run.end > offset)) break
        bytes -= run.end - run.begin
        over++
      }
      runs.splice(0, over)
      const first = runs[0]
      if (first === undefined || first.file !== file || first.begin >= offset) return
      bytes -= offset - first.begin
      runs[0] = { ...first, begin: offset }
    },
    gone: writer => {
      for (const run of writers.get(writer)?.runs ?? []) bytes -= run.end - run.begin
      writers.delete(writer)
    },
    get bytes() {
      return bytes
    },
    get oldestMs() {
      let oldest: number | undefined
      for (const { runs } of writers.values()) {
        const ms = runs[0]?.ms
        if (ms !== undefined && (oldest === undefined || ms < oldest)) oldest = ms
      }
      return oldest
    },
  }
}

function joins(one: Run, next: Run): boolean {
  return one.file === next.file && one.end === next.begin
}

function joinPairs(runs: readonly Run[]): Run[] {
  const joined: Run[] = []
  for (const [at, run] of runs.entries()) {
    const last = joined.at(-1)
    if (at % 2 === 1 && last !== undefined && joins(last, run)) joined[joined.length - 1] = { ...last, end: run.end }
    else joined.push(run)
  }
  return joined
}
