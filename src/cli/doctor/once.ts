/** What several checks need is asked for once. */

/** The first call asks, all get its answer. They share a deadline. */
export function once<T>(ask: (signal: AbortSignal) => Promise<T>): (signal: AbortSignal) => Promise<T> {
  let asked: Promise<T> | undefined
  return signal => (asked ??= ask(signal))
}
