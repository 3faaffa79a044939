/** The `-o` of every command, once: the same items as a table, as data, or as names. */

import type { CliIo } from './io.ts'
import { createPaint } from './paint.ts'
import type { ColorMode } from './paint.ts'
import { printable, printableJson } from './printable.ts'
import { tableLines } from './table.ts'
import type { Column } from './table.ts'
import { write, writeLines } from './write.ts'
import { toYaml } from './yaml.ts'

export const FORMATS = ['table', 'wide', 'json', 'jsonl', 'yaml', 'name'] as const
export type Format = (typeof FORMATS)[number]

/** Flags that commands with `-o` share, as commander gives them. */
export interface OutputOptions {
  readonly output: Format
  readonly headers: boolean
  readonly color: ColorMode
}

export interface Listing<T> {
  readonly items: readonly T[]
  readonly columns: readonly Column<T>[]
  readonly name: (item: T) => string
  /** What `json`, `jsonl` and `yaml` print of an item. */
  readonly data: (item: T) => unknown
  /** What `json` and `yaml` print around the items; the list itself when absent. */
  readonly document?: (items: readonly unknown[]) => unknown
  readonly banner?: (item: T) => string | undefined
  /** Lines before the table. */
  readonly above?: readonly string[]
}

export async function writeListing<T>(listing: Listing<T>, options: OutputOptions, io: CliIo): Promise<void> {
  const { items } = listing
  const document = (): unknown => {
    const all = items.map(listing.data)
    return listing.document === undefined ? all : listing.document(all)
  }
  switch (options.output) {
    case 'json':
      return write(io.stdout, `${printableJson(document(), 2)}\n`)
    case 'yaml':
      return write(io.stdout, toYaml(document()))
    case 'jsonl':
      return writeLines(io.stdout, mapped(items, item => printableJson(listing.data(item))))
    case 'name':
      return writeLines(io.stdout, mapped(items, item => printable(listing.name(item))))
    case 'table':
    case 'wide': {
      await writeLines(io.stdout, listing.above ?? [])
      if (items.length === 0) return
      const { columns, banner } = listing
      const table = { columns, paint: createPaint(options.color, io), wide: options.output === 'wide', headers: options.headers }
      return writeLines(io.stdout, tableLines(items, banner === undefined ? table : { ...table, banner }))
    }
  }
}

function* mapped<T>(items: readonly T[], text: (item: T) => string): Generator<string> {
  for (const item of items) yield text(item)
}
