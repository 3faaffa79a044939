/** Durations, ages and sizes as people read and write them. */

const SECOND_US = 1_000_000
const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 7 * 86_400_000 }

/** `850µs`, `12ms`, `1.24s`, `4m30s`, `2h5m`, `3d4h`. */
export function durationText(us: number): string {
  if (us < 1000) return `${Math.round(us)}µs`
  if (us < 10_000) return `${(us / 1000).toFixed(1)}ms`
  if (us < SECOND_US) return `${Math.round(us / 1000)}ms`
  if (us < 10 * SECOND_US) return `${(us / SECOND_US).toFixed(2)}s`
  if (us < 60 * SECOND_US) return `${(us / SECOND_US).toFixed(1)}s`
  const seconds = Math.round(us / SECOND_US)
  if (seconds < 3600) return pair(seconds, 60, 'm', 's')
  return seconds < 86_400 ? pair(Math.round(seconds / 60), 60, 'h', 'm') : pair(Math.round(seconds / 3600), 24, 'd', 'h')
}

/** Age as kubectl prints it: coarser the older. */
export function ageText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  const [minutes, hours, days] = [Math.floor(seconds / 60), Math.floor(seconds / 3600), Math.floor(seconds / 86_400)]
  if (seconds < 120) return `${seconds}s`
  if (minutes < 10) return pair(seconds, 60, 'm', 's')
  if (minutes < 180) return `${minutes}m`
  if (hours < 8) return pair(minutes, 60, 'h', 'm')
  if (hours < 48) return `${hours}h`
  if (hours < 192) return pair(hours, 24, 'd', 'h')
  return days < 730 ? `${days}d` : pair(days, 365, 'y', 'd')
}

function pair(value: number, base: number, large: string, small: string): string {
  const rest = value % base
  return `${Math.floor(value / base)}${large}${rest === 0 ? '' : `${rest}${small}`}`
}

/** Place in a recording: `0:04.217`, `1:02:03.004`. */
export function offsetText(us: number): string {
  const ms = Math.floor(us / 1000)
  const seconds = Math.floor(ms / 1000)
  const clock = seconds < 3600 ? `${Math.floor(seconds / 60)}` : `${Math.floor(seconds / 3600)}:${String(Math.floor(seconds / 60) % 60).padStart(2, '0')}`
  return `${clock}:${String(seconds % 60).padStart(2, '0')}.${String(ms % 1000).padStart(3, '0')}`
}

/** `97B`, `4.0kB`, `1.2MB`: powers of 1000, as disks and networks count. */
export function sizeText(bytes: number): string {
  if (bytes < 1000) return `${bytes}B`
  const units = ['kB', 'MB', 'GB', 'TB']
  let value = bytes / 1000
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit += 1
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)}${units[unit]}`
}

/** `2s`, `1h30m`, `250ms`, `1:04`, `1:02:03.5`; undefined when it is none. */
export function parseDurationMs(text: string): number | undefined {
  const clock = /^(?:(\d+):)?(\d{1,2}):(\d{2}(?:\.\d+)?)$/.exec(text)
  if (clock !== null) return Math.round((Number(clock[1] ?? 0) * 3600 + Number(clock[2]) * 60 + Number(clock[3])) * 1000)
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d|w))+$/.test(text)) return undefined
  let ms = 0
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d|w)/g)) ms += Number(number) * (UNIT_MS[unit ?? ''] ?? 0)
  return Math.round(ms)
}

/** A time in the past: `1h`, or RFC 3339 (a date alone is midnight UTC). ms since epoch; undefined when it is neither. */
export function parseSinceMs(text: string, nowMs: number): number | undefined {
  const agoMs = parseDurationMs(text)
  if (agoMs !== undefined) return nowMs - agoMs
  if (!/^\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d))?$/.test(text)) return undefined
  const ms = Date.parse(text)
  return Number.isNaN(ms) ? undefined : ms
}
