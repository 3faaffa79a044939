/** Recorded times as numbers. `Date` keeps milliseconds only; recordings keep microseconds. */

/** Microseconds since 1970 of an RFC 3339 time in UTC, as frames carry it. NaN when it is none. */
export function timeUs(time: string): number {
  const found = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$/.exec(time)
  if (found === null) return Number.NaN
  return Date.parse(`${found[1]}Z`) * 1000 + Number((found[2] ?? '').padEnd(6, '0').slice(0, 6))
}
