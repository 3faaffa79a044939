/** Logs: one JSON line each. Never a body, a token or a session id: callers pass only what may be read by anyone who reads logs. */

/** From the least to the most urgent. */
export const LOG_LEVELS = ['info', 'warn', 'error'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** Of an error that is logged, `code` is always a field of its own. */
type LogFields = Readonly<Record<string, unknown>>

export interface Log {
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

/** @param options `level` is the least that is written; `write` takes a whole line with its newline; `now` is ms since epoch */
export function createLog(options: { readonly level: LogLevel; readonly write: (line: string) => void; readonly now: () => number }): Log {
  const least = LOG_LEVELS.indexOf(options.level)
  const at = (level: LogLevel) => (message: string, fields: LogFields = {}): void => {
    if (LOG_LEVELS.indexOf(level) < least) return
    // Time, level and message come last into the object but first on the line: a field cannot pose as them.
    const head = { time: new Date(options.now()).toISOString(), level, msg: message }
    options.write(`${JSON.stringify({ ...head, ...fields, ...head })}\n`)
  }
  return { info: at('info'), warn: at('warn'), error: at('error') }
}
