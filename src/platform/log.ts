/** Logs: one JSON line each. Never a body, a token or a session id: callers pass only what may be read by anyone who reads logs. */

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export interface Log {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void
  info(message: string, fields?: Readonly<Record<string, unknown>>): void
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void
  error(message: string, fields?: Readonly<Record<string, unknown>>): void
  /** The same log with fields that every line of it carries. */
  child(fields: Readonly<Record<string, unknown>>): Log
}

const ORDER: readonly LogLevel[] = ['debug', 'info', 'warn', 'error']

/** @param write takes a whole line with its newline; `now` is ms since epoch */
export function createLog(options: { readonly level: LogLevel; readonly write: (line: string) => void; readonly now: () => number }): Log {
  const least = ORDER.indexOf(options.level)
  const withFields = (own: Readonly<Record<string, unknown>>): Log => {
    const at = (level: LogLevel) => (message: string, fields: Readonly<Record<string, unknown>> = {}): void => {
      if (ORDER.indexOf(level) < least) return
      // Time, level and message come last into the object but first on the line: a field cannot pose as them.
      const head = { time: new Date(options.now()).toISOString(), level, msg: message }
      options.write(`${JSON.stringify({ ...head, ...own, ...fields, ...head })}\n`)
    }
    return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), child: fields => withFields({ ...own, ...fields }) }
  }
  return withFields({})
}
