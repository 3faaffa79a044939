/** Tables as kubectl prints them: upper-case titles, three spaces between columns, `<none>` for nothing. Every cell is made printable here. */

import type { Paint, Tone } from './paint.ts'
import { displayWidth, fit, printable } from './printable.ts'

const GAP = '   '

export interface Column<T> {
  readonly title: string
  readonly cell: (item: T) => string | number | undefined
  /** In place of `cell` with `-o wide`. */
  readonly wideCell?: (item: T) => string | number | undefined
  /** Only with `-o wide`. */
  readonly wide?: true
  /** Longest content in columns; the rest is cut. With `-o wide` nothing is cut. */
  readonly max?: number
  readonly tone?: (item: T) => Tone | undefined
}

export interface TableOptions<T> {
  readonly columns: readonly Column<T>[]
  readonly wide?: boolean
  readonly paint: Paint
  /** An item that is one full-width line instead of cells. */
  readonly banner?: (item: T) => string | undefined
}

export interface Table<T> {
  header(): string
  line(item: T): string
}

/** @param sample items that decide the widths: all of them, or the first ones of a stream */
export function createTable<T>(sample: readonly T[], options: TableOptions<T>): Table<T> {
  const wide = options.wide === true
  const columns = options.columns.filter(column => wide || column.wide !== true)
  const text = (column: Column<T>, item: T): string => {
    const value = (wide ? (column.wideCell ?? column.cell) : column.cell)(item)
    const shown = value === undefined || value === '' ? '<none>' : printable(String(value))
    return column.max === undefined || wide ? shown : fit(shown, column.max)
  }
  const widths = columns.map(column => column.title.length)
  for (const item of sample) {
    if (options.banner?.(item) !== undefined) continue
    columns.forEach((column, i) => (widths[i] = Math.max(widths[i] ?? 0, displayWidth(text(column, item)))))
  }
  const pad = (content: string, i: number): string => (i === columns.length - 1 ? '' : ' '.repeat(Math.max(0, (widths[i] ?? 0) - displayWidth(content))))
  return {
    header: () => columns.map((column, i) => column.title + pad(column.title, i)).join(GAP),
    line: item => {
      const banner = options.banner?.(item)
      if (banner !== undefined) return options.paint('warn', printable(banner))
      return columns
        .map((column, i) => {
          const content = text(column, item)
          return options.paint(column.tone?.(item), content) + pad(content, i)
        })
        .join(GAP)
    },
  }
}

/** All lines of a table, the header first unless it is not wanted. */
export function* tableLines<T>(items: readonly T[], options: TableOptions<T> & { readonly headers: boolean }): Generator<string> {
  const table = createTable(items, options)
  if (options.headers) yield table.header()
  for (const item of items) yield table.line(item)
}

/** `Key:   value` lines as `kubectl describe` prints them. */
export function describeLines(fields: readonly (readonly [string, string | undefined])[]): readonly string[] {
  const width = Math.max(...fields.map(([key]) => key.length)) + 1
  return fields.map(([key, value]) => `${`${key}:`.padEnd(width)}${GAP}${value === undefined || value === '' ? '<none>' : printable(value)}`)
}
