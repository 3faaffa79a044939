/** What a doctor is made of: a list of checks, each of which looks at one thing and says what it found. A doctor for something else is another list. */

export type CheckState =
  /** As it should be. */
  | 'ok'
  /** Works; worth knowing, or better otherwise. */
  | 'note'
  /** Recordings are lost, cannot be read or can be removed. */
  | 'problem'
  /** Could not be looked at. */
  | 'unknown'

export interface CheckResult {
  readonly state: CheckState
  readonly found: string
  /** What it does to recordings. */
  readonly why?: string
  /** What to do about it. */
  readonly change?: string
  /** The check that tells of it, where another does. */
  readonly see?: string
}

export interface Check<Subject> {
  /** For people, `--skip` and programs: stays the same. */
  readonly id: string
  /** What is right, in a few words. */
  readonly title: string
  /** Throws what the subject throws; the doctor explains it. Changes nothing. */
  readonly run: (subject: Subject, signal: AbortSignal) => CheckResult | Promise<CheckResult>
}

export interface Finding extends CheckResult {
  readonly id: string
  readonly title: string
}

export function ok(found: string): CheckResult {
  return { state: 'ok', found }
}

export function note(found: string, why: string, change: string): CheckResult {
  return { state: 'note', found, why, change }
}

export function problem(found: string, why: string, change: string): CheckResult {
  return { state: 'problem', found, why, change }
}

/** What a check needs failed, and is told of by another check. */
export class SeeFirst extends Error {
  readonly id: string

  constructor(id: string) {
    super(`not known: see ${id}`)
    this.name = 'SeeFirst'
    this.id = id
  }

  get result(): CheckResult {
    return { state: 'unknown', found: this.message, see: this.id }
  }
}

/**
 * Runs all checks at once: none waits for one that gets no answer.
 * @param explain makes a result of what a check throws
 * @returns findings in the order of the checks
 */
export async function runChecks<Subject>(checks: readonly Check<Subject>[], subject: Subject, explain: (error: unknown) => CheckResult, signal: AbortSignal): Promise<readonly Finding[]> {
  return await Promise.all(
    checks.map(async ({ id, title, run }) => {
      try {
        return { id, title, ...(await run(subject, signal)) }
      } catch (error) {
        return { id, title, ...(error instanceof SeeFirst ? error.result : explain(error)) }
      }
    }),
  )
}
